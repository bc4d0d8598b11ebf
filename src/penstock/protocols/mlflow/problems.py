"""Failures as MLflow writes them, without the trace that it sends along.

Sources: mlflow/pyfunc/scoring_server, mlflow/exceptions.py.
"""

from __future__ import annotations

import msgspec

from penstock.core.errors import PenstockError
from penstock.protocols.problems import JSON, body_of, lines_of, status_of

_NAMES = {
    400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST", 409: "RESOURCE_CONFLICT", 413: "BAD_REQUEST", 429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR", 501: "NOT_IMPLEMENTED", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def failure(error: PenstockError) -> tuple[int, bytes, bytes]:
    """Status, header lines and body: `error_code` and `message` are MLflow's, `code` is ours.

    Example:
        >>> from penstock.core.errors import InvalidInput
        >>> failure(InvalidInput("invalid-json", "the body is not JSON"))[2]
        b'{"error_code":"BAD_REQUEST","message":"the body is not JSON","code":"invalid-json"}'
    """
    status, body = status_of(error), body_of(error)
    if status == 415:
        return status, b"content-type: text/plain; charset=utf-8\r\n" + lines_of(error), body["error"].encode()
    document = {"error_code": _NAMES[status], "message": body["error"], "code": error.code}
    return status, JSON + lines_of(error), msgspec.json.encode(document)
