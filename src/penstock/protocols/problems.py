"""From a failure to an HTTP status: one table for every protocol of the node."""

from __future__ import annotations

import msgspec

from penstock.core.errors import Overloaded, PenstockError, Unauthenticated, UnsupportedMedia, WrongMethod

JSON = b"content-type: application/json\r\n"
TAKEN = "application/json, text/csv, application/jsonlines"
_encode = msgspec.json.Encoder().encode

STATUS = {
    "invalid": 400,
    "wrong-method": 405,
    "not-found": 404,
    "conflict": 409,
    "refused": 403,
    "unauthenticated": 401,
    "forbidden": 403,
    "too-large": 413,
    "unsupported-media": 415,
    "unsupported": 501,
    "overloaded": 429,
    "deadline": 504,
    "unavailable": 503,
    "model-failed": 500,
    "internal": 500,
}


def status_of(error: PenstockError) -> int:
    """The HTTP status for a failure."""
    return STATUS[error.kind]


def headers_of(error: PenstockError) -> dict[str, str]:
    """Extra response headers a failure asks for."""
    if isinstance(error, Overloaded):
        return {"retry-after": str(error.retry_after_s)}
    # RFC 9110, 15.5.6: a 405 must say which methods would have been taken.
    if isinstance(error, WrongMethod):
        return {"allow": error.allowed}
    # RFC 9110, 15.5.2: a 401 must say which scheme would have been taken.
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": "Bearer"}
    # RFC 9110, 15.5.16: with a 415 it says which types, or encodings, of a request would have been taken.
    if isinstance(error, UnsupportedMedia):
        encoded = error.code == "unsupported-encoding"
        return {"accept-encoding": "gzip, deflate, identity"} if encoded else {"accept": TAKEN}
    return {}


def body_of(error: PenstockError) -> dict[str, str]:
    """The JSON body: `error` is what the Open Inference Protocol asks for, `code` and `hint` are for programs."""
    if not error.hint:
        return {"error": error.message, "code": error.code}
    return {"error": f"{error.message}; {error.hint}", "code": error.code, "hint": error.hint}


def reply_of(error: PenstockError) -> tuple[int, bytes, bytes]:
    """Status, header lines and body of a failure, in the form of the Open Inference Protocol and of TF Serving."""
    return status_of(error), JSON + lines_of(error), _encode(body_of(error))


def lines_of(error: PenstockError) -> bytes:
    """The extra response headers of a failure, as lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers_of(error).items()).encode()
