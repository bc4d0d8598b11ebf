"""From a failure to a gRPC status, for every gRPC contract of the node.

Source: gRPC, "Status codes and their use in gRPC".
"""

from __future__ import annotations

from penstock.core.errors import PenstockError
from penstock.protocols.problems import lines_of, status_of

# fmt: off
CODES = {
    "invalid": 3,              # INVALID_ARGUMENT
    "deadline": 4,             # DEADLINE_EXCEEDED
    "not-found": 5,            # NOT_FOUND
    "refused": 7,              # PERMISSION_DENIED
    "forbidden": 7,
    "too-large": 8,            # RESOURCE_EXHAUSTED
    "overloaded": 8,
    "conflict": 10,            # ABORTED
    "unsupported": 12,         # UNIMPLEMENTED
    "wrong-method": 12,
    "unsupported-media": 12,
    "model-failed": 13,        # INTERNAL
    "internal": 13,
    "unavailable": 14,         # UNAVAILABLE
    "unauthenticated": 16,     # UNAUTHENTICATED
}
# fmt: on


def grpc_reply_of(error: PenstockError) -> tuple[int, bytes, bytes]:
    r"""A failure as a form writes it: the status for logs and metrics, header lines, and the text for people.

    The lines become the call's trailing metadata, but for `grpc-status`, which becomes its status.

    Example:
        >>> from penstock.core.errors import NotFound
        >>> grpc_reply_of(NotFound("unknown-endpoint", "there is no endpoint 'x'"))
        (404, b'grpc-status: 5\r\npenstock-code: unknown-endpoint\r\n', b"there is no endpoint 'x'")
    """
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    lines = b"grpc-status: %d\r\npenstock-code: %b\r\n" % (CODES[error.kind], error.code.encode())
    return status_of(error), lines + lines_of(error), text.encode(errors="replace")
