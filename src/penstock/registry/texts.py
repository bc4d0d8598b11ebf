"""What people attach to versions, checked before it is stored: every value means the same in both databases."""

from __future__ import annotations

import math
from collections.abc import Mapping

from penstock.core.errors import InvalidInput

MAX_KEY = 128
MAX_TEXT = 4096
MAX_ENTRIES = 200


def check_text(text: str, what: str, limit: int = MAX_TEXT) -> str:
    """Return `text` if it is at most `limit` characters, none of them a control character or half a surrogate pair.

    Example:
        >>> check_text("überprüft ✓", "reason")
        'überprüft ✓'
    """
    # PostgreSQL stores no NUL, UTF-8 no lone surrogate, and a terminal obeys the other control characters.
    if len(text) > limit or any(_is_unprintable(character) for character in text):
        raise InvalidInput(
            "invalid-text", f"{what} {text[:80]!r} is too long or holds control characters", hint=f"at most {limit}"
        )
    return text


def _is_unprintable(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags if every key is 1 to 128 characters and every value a plain text."""
    _check_keys(tags, "tag")
    return {key: check_text(value, f"tag {key}") for key, value in tags.items()}


def check_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics as floats if every key is 1 to 128 characters and every value finite.

    Example:
        >>> check_metrics({"auc": 1})
        {'auc': 1.0}
    """
    _check_keys(metrics, "metric")
    # JSON has no NaN: the audit log would say null where the table says NaN.
    wrong = next((key for key, value in metrics.items() if not _is_finite(value)), None)
    if wrong is not None:
        raise InvalidInput("invalid-metric", f"metric {wrong!r} is {metrics[wrong]!r}", hint="give a finite number")
    return {key: float(value) for key, value in metrics.items()}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _check_keys(entries: Mapping[str, object], what: str) -> None:
    if len(entries) > MAX_ENTRIES:
        raise InvalidInput("invalid-text", f"{len(entries)} {what}s at once", hint=f"at most {MAX_ENTRIES}")
    for key in entries:
        if not check_text(key, f"{what} name", MAX_KEY).strip():
            raise InvalidInput("invalid-text", f"a {what} has no name", hint=f"write --{what} NAME=VALUE")
