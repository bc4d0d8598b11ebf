"""Open Inference Protocol v2 over REST, with the binary tensor data extension.

Source: kserve/open-inference-protocol, `specification/protocol/inference_rest.md` and `extension_binary_data.md`.
"""
