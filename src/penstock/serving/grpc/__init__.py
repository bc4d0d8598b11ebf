"""The gRPC port of a node: the same flow as over HTTP, on the same event loop. Needs the extra `grpc`.

`connection.py` is one client over `serving/http2`, `calls.py` and `stream.py` are its RPCs, `door.py` is what stands
behind all of them, and `methods.py` says what is answered.

Source: "gRPC over HTTP2" (PROTOCOL-HTTP2.md of gRPC).
"""
