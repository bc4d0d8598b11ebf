"""Every failure Penstock reports: what was wrong, where, what to do next, under one stable code.

The class says what *kind* of failure it is, which is all a protocol needs to pick a status; the code says
which failure it is, and never changes its meaning. `docs/reference/errors.md` lists every code.
"""

from __future__ import annotations

from typing import ClassVar


class PenstockError(Exception):
    """A failure with a stable code, a message for people and a hint of what to do next.

    Example:
        >>> error = NotFound("unknown-endpoint", "no endpoint 'chrun'", hint="did you mean 'churn'?")
        >>> print(error)
        no endpoint 'chrun'; did you mean 'churn'? [unknown-endpoint]
    """

    kind: ClassVar[str] = "internal"

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}{'; ' + self.hint if self.hint else ''} [{self.code}]"


class InvalidInput(PenstockError):
    """The caller sent something that cannot be taken; sending it again will fail again."""

    kind = "invalid"


class WrongMethod(PenstockError):
    """The address is there and takes other methods, `allowed`."""

    kind = "wrong-method"

    def __init__(self, code: str, message: str, *, hint: str = "", allowed: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.allowed = allowed


class NotFound(PenstockError):
    """The thing named does not exist."""

    kind = "not-found"


class Conflict(PenstockError):
    """Somebody else changed the thing first, or the name is taken."""

    kind = "conflict"


class Refused(PenstockError):
    """A rule forbids it: an unsafe file, a missing waiver, a policy."""

    kind = "refused"


class Unauthenticated(PenstockError):
    """Nobody knows who is asking: no key or token, or one that is not valid (any more)."""

    kind = "unauthenticated"


class Forbidden(PenstockError):
    """It is known who is asking, and that he may not do this. `Refused` would refuse it to anybody."""

    kind = "forbidden"


class TooLarge(PenstockError):
    """Larger than the stated limit."""

    kind = "too-large"


class UnsupportedMedia(PenstockError):
    """The bytes come in a form that is not taken, whatever they hold."""

    kind = "unsupported-media"


class Unsupported(PenstockError):
    """Valid, but this build or this model cannot do it."""

    kind = "unsupported"


class Overloaded(PenstockError):
    """No room now; `retry_after_s` says when to try again."""

    kind = "overloaded"

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(code, message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(PenstockError):
    """The caller's deadline passed before the answer was ready."""

    kind = "deadline"


class Unavailable(PenstockError):
    """Not ready, starting, draining, or the model's process died while it worked on this call."""

    kind = "unavailable"


class ModelFailed(PenstockError):
    """The model itself raised, or answered something that its signature forbids."""

    kind = "model-failed"
