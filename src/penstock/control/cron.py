"""Five fields that say when: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

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


def is_due(cron: str, minute: datetime) -> bool:
    """Whether five cron fields name this minute: minute, hour, day of month, month, day of week (0 and 7 are Sunday).

    As in crontab(5): where both days are given, either of them is enough.

    Example:
        >>> monday = datetime(2026, 11, 23, 2, 30)
        >>> is_due("30 2 * * *", monday), is_due("*/15 2-4 * * 1", monday), is_due("0 2 * * *", monday)
        (True, True, False)
        >>> is_due("30 2 1 * 1", monday), is_due("30 2 1 * 2", monday)
        (True, False)
    """
    minutes, hours, dates, months, weekdays, either = _parsed(cron)
    if minute.minute not in minutes or minute.hour not in hours or minute.month not in months:
        return False
    on_date, on_weekday = minute.day in dates, minute.isoweekday() % 7 in weekdays
    return (on_date or on_weekday) if either else (on_date and on_weekday)


@lru_cache(maxsize=256)
def _parsed(cron: str) -> tuple[set[int], set[int], set[int], set[int], set[int], bool]:
    """The values of each field, Sunday as 0, and whether either of both days is enough."""
    fields = cron.split()
    minutes, hours, dates, months, weekdays = (
        _values(field, least, most) for field, (_, least, most) in zip(fields, _RANGES, strict=True)
    )
    return minutes, hours, dates, months, {day % 7 for day in weekdays}, "*" not in (fields[2][0], fields[4][0])


def _values(field: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        begin = first if low == "*" else int(low)
        # `5/10` begins at 5 and goes on to the end.
        end = last if low == "*" or (step and not high) else int(high or low)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found
