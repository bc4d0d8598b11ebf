"""Which files of the table are given up for its bounds: predictions of the oldest days, by age and by size.

Outcomes stay: they are small, and a decision of the past is reproduced with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import msgspec

from penstock.predlog.table_parts import FOLDER, parse_part
from penstock.predlog.table_store import TableStore


class TableLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How old the predictions of the table may be, and how many bytes they may take."""

    max_age_s: float = 30 * 86_400.0
    max_bytes: int = 10 * 10**9


def given_up(sizes: Mapping[str, int], now_s: float, limits: TableLimits) -> list[str]:
    """The keys to delete so that those left are young enough and take at most `max_bytes`, the oldest first.

    `sizes` are bytes by key. A day goes by age when the whole of it is too old. Files that are no part of ours are
    neither counted nor given up.

    Example:
        >>> part = "predictions/endpoint=churn/date={0}/part-20300101T000000.000Z-0a1b-0-d69a5b8b.parquet".format
        >>> sizes = {part("2030-01-01"): 60, part("2030-01-02"): 60}
        >>> given_up(sizes, 1893542400.0, TableLimits(max_bytes=100)) == [part("2030-01-01")]
        True
    """
    found = []
    for key, size in sizes.items():
        part = parse_part(PurePosixPath(key))
        if part is not None:
            found.append((part.date, part.source, key, size))
    # As text, like the names: they sort by time.
    oldest_date = datetime.fromtimestamp(max(now_s - limits.max_age_s, 0), UTC).date().isoformat()
    excess = sum(size for *_, size in found) - limits.max_bytes
    doomed = []
    for date, _, key, size in sorted(found):
        if date < oldest_date or excess > 0:
            doomed.append(key)
            excess -= size
    return doomed


def trim(store: TableStore, cache: Path, now_s: float, limits: TableLimits) -> list[str]:
    """Delete what `given_up` names, from the table and from this machine's `cache` of it, and return it.

    Raises Unavailable (`log-unavailable`). Several may do so at once.
    """
    doomed = given_up(store.sizes(FOLDER), now_s, limits)
    store.delete(doomed)
    for key in doomed:
        (cache / key).unlink(missing_ok=True)
    return doomed
