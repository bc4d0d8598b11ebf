"""The gRPC door of a node: the same flow as over HTTP, on the same event loop. Needs the extra `grpc`.

`door.py` is the server, `methods.py` says what it answers.
"""
