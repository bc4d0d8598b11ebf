"""Five fields that say when: minute, hour, day of month, month, day of week; checked here, obeyed elsewhere."""

from __future__ import annotations

import re

from penstock.core.errors import InvalidInput

# POSIX crontab, with steps: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/crontab.html
_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


def check_cron(text: str, path: str) -> None:
    """Raise InvalidInput (`invalid-cron`) unless all five fields are `*`, numbers, ranges or lists, with steps or not.

    Example:
        >>> check_cron("*/15 3 * * 1-5", "schedules.nightly.cron")
        >>> check_cron("61 3 * * *", "schedules.nightly.cron")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: schedules.nightly.cron: minute '61' is not within 0 to 59 [invalid-cron]
    """
    fields = text.split()
    if len(fields) != len(_RANGES):
        raise InvalidInput(
            "invalid-cron", f"{path}: {text[:80]!r} has {len(fields)} fields, not 5", hint="every night: 0 3 * * *"
        )
    for field, (what, least, most) in zip(fields, _RANGES, strict=True):
        if not all(_is_within(part, least, most) for part in field.split(",")):
            raise InvalidInput("invalid-cron", f"{path}: {what} {field[:80]!r} is not within {least} to {most}")


def _is_within(part: str, least: int, most: int) -> bool:
    # ASCII only: \d also takes digits of other scripts.
    found = _PART.fullmatch(part) if part.isascii() else None
    if found is None:
        return False
    start, end, step = (int(text) if text is not None else None for text in found.groups())
    if step == 0:
        return False
    if start is None:
        return True
    return least <= start <= (end if end is not None else start) <= most
