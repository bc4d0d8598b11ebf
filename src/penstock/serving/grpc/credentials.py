"""TLS of the gRPC port, from the same files as HTTP's; a renewed certificate is taken at the next handshake."""

from __future__ import annotations

from typing import Any

from penstock.core.errors import PenstockError, Unsupported
from penstock.security.tls import TlsSettings, mark_of, server_context
from penstock.serving.grpc.library import grpc
from penstock.serving.log import Log


def credentials_of(tls: TlsSettings, log: Log) -> Any:
    """What gRPC takes for a secure port; raises InvalidInput (`invalid-certificate`), Unsupported."""
    if tls.minimum != "1.2":
        raise Unsupported("grpc-tls-minimum", "gRPC's server cannot be held to TLS 1.3", hint="leave out the gRPC port")
    seen = mark_of(tls)
    first = _configuration(tls)

    def renewed() -> Any:
        nonlocal seen
        mark = mark_of(tls)
        if mark == seen:
            return None
        # Seen also when it is refused: a certificate whose key is still to come is told once.
        seen = mark
        try:
            return _configuration(tls)
        except (PenstockError, OSError) as error:
            log.event("certificate-refused", port="grpc", reason=str(error))
            return None

    return grpc.dynamic_ssl_server_credentials(first, renewed, require_client_authentication=tls.client_ca is not None)


def _configuration(tls: TlsSettings) -> Any:
    # Checks the files as HTTP does, with errors that name them: gRPC's own say nothing.
    server_context(tls)
    roots = tls.client_ca.read_bytes() if tls.client_ca is not None else None
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)
