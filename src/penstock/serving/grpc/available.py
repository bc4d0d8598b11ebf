"""Whether this installation and these settings allow a gRPC port, asked before anything starts."""

from __future__ import annotations

from importlib.util import find_spec

from penstock.core.errors import Unavailable, Unsupported
from penstock.serving.settings import NodeSettings


def check_grpc(settings: NodeSettings) -> None:
    """Raise Unsupported (`missing-extra`) or Unavailable (`port-taken`) where the gRPC port cannot be had."""
    if not settings.grpc_port:
        return
    if find_spec("hpack") is None:
        raise Unsupported("missing-extra", "the gRPC port needs hpack", hint="pip install 'penstock[grpc]'")
    if settings.grpc_port == settings.port:
        # Several event loops share their ports: both servers would get it, and each the other's connections.
        raise Unavailable("port-taken", f"port {settings.port} is HTTP's", hint="choose another --grpc-port")
