"""Failures as OpenAI's clients read them."""

from __future__ import annotations

import msgspec

from penstock.core.errors import PenstockError
from penstock.protocols.problems import JSON, lines_of, status_of

_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
}  # fmt: skip


def failure(error: PenstockError) -> tuple[int, bytes, bytes]:
    """Status, header lines and body of a failure."""
    status = status_of(error)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    said = f"{error.message}; {error.hint}" if error.hint else error.message
    body = {"error": {"message": said, "type": kind, "param": None, "code": error.code}}
    return status, JSON + lines_of(error), msgspec.json.encode(body)
