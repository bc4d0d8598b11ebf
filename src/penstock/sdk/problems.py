"""From what went wrong on the wire to the exception a caller sees."""

from __future__ import annotations

import msgspec

from penstock.core.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    ModelFailed,
    NotFound,
    Overloaded,
    PenstockError,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
    UnsupportedMedia,
    WrongMethod,
)
from penstock.sdk.messages import Incoming, Lost

# The opposite of `penstock.protocols.problems.STATUS`; a test holds the two together.
_KINDS: dict[int, type[PenstockError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Refused,
    404: NotFound,
    405: WrongMethod,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMedia,
    429: Overloaded,
    431: TooLarge,
    500: ModelFailed,
    501: Unsupported,
    503: Unavailable,
    504: DeadlineExceeded,
}
_MOST_TEXT = 120


class _Problem(msgspec.Struct):
    error: str
    code: str
    hint: str = ""


_decode = msgspec.json.Decoder(_Problem).decode


def error_of(answer: Incoming, address: str) -> PenstockError:
    """The failure an answer reports: its code and text, as the class that its status stands for.

    Example:
        >>> answer = Incoming(404, {}, b'{"error": "there is no endpoint", "code": "unknown-endpoint"}')
        >>> error_of(answer, "http://127.0.0.1:8080")
        NotFound('unknown-endpoint', 'there is no endpoint', '')
    """
    try:
        problem = _decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return unexpected(answer, address)
    message = problem.error.removesuffix(f"; {problem.hint}") if problem.hint else problem.error
    if answer.status == 429:
        return Overloaded(problem.code, message, hint=problem.hint, retry_after_s=retry_after_s(answer) or 1)
    return _kind_of(problem.code, answer.status)(problem.code, message, hint=problem.hint)


def _kind_of(code: str, status: int) -> type[PenstockError]:
    """Our own defect and a model's share a status, and so do a rule for all and one for somebody: the code tells."""
    if code == "internal-error":
        return PenstockError
    return Forbidden if status == 403 and code.endswith("-forbidden") else _kind(status)


def _kind(status: int) -> type[PenstockError]:
    return _KINDS.get(status, InvalidInput if 400 <= status < 500 else Unavailable)


def unexpected(answer: Incoming, address: str) -> PenstockError:
    """The failure for an answer that no node gives: a proxy's page, another program behind the port."""
    kind = Unavailable if answer.status < 400 or answer.status >= 500 else _kind(answer.status)
    text = answer.body[:_MOST_TEXT].decode(errors="replace")
    return kind(
        "unexpected-answer",
        f"{address} answered {answer.status} with something that is not Penstock's: {text!r}",
        hint="is a proxy or another program at that address?",
    )


def loss_of(lost: Lost, address: str, timeout_s: float) -> PenstockError:
    """The failure for an answer that never came."""
    match lost.stage:
        case "timeout":
            return late(address, timeout_s)
        case "connect":
            return Unavailable(
                "unreachable",
                f"{address} cannot be reached: {lost.reason}",
                hint="is a node running there? `penstock serve BUNDLE` starts one; check host and port",
            )
    when = "before it answered" if lost.stage == "before-answer" else "in the middle of its answer"
    return Unavailable("connection-lost", f"{address} closed the connection {when}: {lost.reason}")


def late(address: str, timeout_s: float) -> DeadlineExceeded:
    """The failure for a call that has run out of time on this side."""
    return DeadlineExceeded(
        "no-answer-in-time", f"{address} did not answer within {timeout_s:g} s", hint="a larger timeout_s waits longer"
    )


def retry_after_s(answer: Incoming) -> int | None:
    """The seconds of a Retry-After header; its other form, a date, is not ours and not read."""
    value = answer.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else None
