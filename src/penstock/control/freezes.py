"""Freeze windows: times in which nothing goes forward. Going back is never frozen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from penstock.control.cron import check_cron, is_due
from penstock.control.spec import Freeze
from penstock.core.errors import InvalidInput

MOST_HOURS = 24 * 31


def frozen_by(freezes: Mapping[str, Freeze], now: float) -> str:
    """The name of a window that is on, "" for none; `now` in seconds since 1970.

    Example:
        >>> weekend = {"weekend": Freeze(cron="0 16 * * 5", hours=64)}
        >>> [frozen_by(weekend, datetime(2026, 11, day, 15, tzinfo=UTC).timestamp()) for day in (27, 28, 30)]
        ['', 'weekend', '']
    """
    moment = datetime.fromtimestamp(now, UTC)
    return next((name for name, freeze in sorted(freezes.items()) if _is_on(freeze, moment)), "")


def check_freeze(freeze: Freeze, path: str) -> None:
    """Raise InvalidInput (`invalid-spec`, `invalid-cron`) for a window that is none."""
    if bool(freeze.cron) == bool(freeze.since or freeze.until):
        raise _invalid(path, "give either cron and hours, or since and until")
    if freeze.cron:
        check_cron(freeze.cron, f"{path}.cron")
        if not 0 < freeze.hours <= MOST_HOURS:
            raise _invalid(path, f"hours is not more than 0 and at most {MOST_HOURS}")
    elif not _time(freeze.since, f"{path}.since") < _time(freeze.until, f"{path}.until"):
        raise _invalid(path, "since is not before until")


def _is_on(freeze: Freeze, moment: datetime) -> bool:
    if not freeze.cron:
        return _time(freeze.since, "since") <= moment < _time(freeze.until, "until")
    last = moment.replace(second=0, microsecond=0)
    first = moment - timedelta(hours=freeze.hours)
    minutes = int((last - first).total_seconds() // 60) + 1
    candidates = (last - timedelta(minutes=passed) for passed in range(minutes))
    return any(minute > first and is_due(freeze.cron, minute) for minute in candidates)


def _time(text: str, path: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(path, f"{text[:80]!r} is no date and time", "2026-12-20T00:00:00Z") from None
    # Without a zone it is UTC, as everywhere here.
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _invalid(path: str, message: str, hint: str = "") -> InvalidInput:
    return InvalidInput("invalid-spec", f"{path}: {message}", hint=hint)
