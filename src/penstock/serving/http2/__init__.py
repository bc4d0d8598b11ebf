"""HTTP/2 as a server speaks it (RFC 9113), without a socket: bytes in, streams to a host, bytes out.

`session.py` is one connection, `stream.py` one request and its answer, `heads.py` what their header blocks say.
"""
