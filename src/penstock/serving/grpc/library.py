"""gRPC's library, loaded with its own log off: at each failed handshake it would write into the node's log.

Everything here takes `grpc` from this module.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

__all__ = ["grpc"]
