"""OpenAI's API, as far as bundles that embed text can answer it.

Source: OpenAI API reference, "Embeddings", "Models" and "Error codes".
"""
