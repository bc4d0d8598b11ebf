"""Logs for tests: blocks of one kind of record, written into segments as a node writes them."""

import numpy as np

from penstock.predlog.outcome_spool import OutcomeSpool
from penstock.predlog.query import query
from penstock.predlog.record import Block, encode_block
from penstock.predlog.segment import SegmentWriter, segment_name
from penstock.predlog.table_store import open_table_store
from penstock.predlog.table_views import EVERYTHING, LogPlaces

BEGIN_S = 1_900_000_000


def block(count=3, *, start=0, prefix="r", endpoint="churn", version="churn/1", at_s=BEGIN_S, rows=None, **changes):
    """`count` records, a second apart; by default of one row each, with inputs `age` and `city` and a label."""
    rows = np.array(rows if rows is not None else [1] * count, np.int32)
    total = int(rows.sum())
    numbers = np.arange(start, start + total)
    fields = {
        "endpoint": endpoint,
        "arm": "main",
        "version": version,
        "bundle": "sha256:" + "0" * 64,
        "time_us": ((at_s + np.arange(start, start + count)) * 1_000_000).astype(np.int64),
        "ids": [f"{prefix}{number}" for number in range(start, start + count)],
        "rows": rows,
        "latency_us": np.full(count, 120, np.int64),
        "status": np.full(count, 200, np.int16),
        "codes": [""] * count,
        "reasons": ["weight"] * count,
        "subjects": ["app"] * count,
        "inputs": {"age": numbers.astype(np.float64), "city": np.array([f"c{n % 3}" for n in numbers], object)},
        "outputs": {
            "predictions": (numbers % 2).astype(np.int64),
            "probabilities": np.stack([numbers / 100, 1 - numbers / 100], axis=1).astype(np.float32),
        },
    }
    return Block(**(fields | changes))


def failed(count=1, **changes):
    """Calls that were refused."""
    nothing = {"inputs": {}, "outputs": {}, "status": np.full(count, 400, np.int16), "codes": ["wrong-shape"] * count}
    return block(count, prefix="bad", **(nothing | changes))


def write_segment(folder, blocks, *, sequence=0, started_s=BEGIN_S, close=True):
    """One segment; the writer is returned, and still holds the segment where `close` is false."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = SegmentWriter(folder, segment_name(0, started_s, sequence))
    for each in blocks:
        writer.append([encode_block(each)])
    if close:
        writer.close()
    return writer


def places_in(root, address="", clock=None):
    """The log below one folder."""
    spool = OutcomeSpool(root / "outcomes", *([clock] if clock else []))
    return LogPlaces((root / "seg",), open_table_store(address or root / "table"), spool, root / "cache")


def ask(places, sql, selection=EVERYTHING, **options):
    """The rows of an answer, none of the log unread."""
    found = query(places, sql, selection, **options)
    assert found.warnings == ()
    assert not found.truncated
    return found.rows


def ids(places, selection=EVERYTHING):
    """The ids of all predictions, sorted."""
    return [row[0] for row in ask(places, "SELECT request_id FROM predictions ORDER BY time, request_id", selection)]
