"""`python -m verification.joining make|join FOLDER RECORDS`: what `checks/join.py` measures, in its own process."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from penstock.predlog.compact import compact_all
from penstock.predlog.outcome_spool import OutcomeSpool
from penstock.predlog.query import export, query
from penstock.predlog.record import Block, encode_block
from penstock.predlog.segment import SegmentWriter, segment_name
from penstock.predlog.table_store import open_table_store
from penstock.predlog.table_views import LogPlaces, Selection

BEGIN_S = 1_900_000_000
_PER_BLOCK = 250
_SEGMENTS = 8


def make(folder: Path, records: int) -> None:
    """Segments of 20 inputs, a label and two scores, and two files of outcomes."""
    rng = np.random.default_rng(0)
    place = folder / "predlog"
    place.mkdir()
    per_segment = -(-records // _SEGMENTS // _PER_BLOCK) * _PER_BLOCK
    for first in range(0, records, per_segment):
        writer = SegmentWriter(place, segment_name(0, BEGIN_S + first, first))
        for start in range(first, min(first + per_segment, records), _PER_BLOCK):
            writer.append([encode_block(_block(rng, start, min(_PER_BLOCK, records - start)))])
        writer.close()
    order = list(range(records))
    random.Random(0).shuffle(order)  # noqa: S311 - an order, no secret
    _outcomes(folder / "labels.csv", order, 0)
    _outcomes(folder / "corrections.csv", [number for number in order if number % 10 == 0], 5)


def _block(rng: np.random.Generator, start: int, count: int) -> Block:
    numbers = np.arange(start, start + count)
    scores = rng.random((count, 2), np.float32)
    return Block(
        endpoint="churn", arm="main", version="churn/7", bundle="sha256:" + "0" * 64,
        time_us=(BEGIN_S * 1_000_000 + numbers * 1_000).astype(np.int64),
        ids=[_id(number) for number in numbers], rows=np.ones(count, np.int32),
        latency_us=rng.integers(100, 900, count), status=np.full(count, 200, np.int16),
        codes=[""] * count, reasons=["weight"] * count, subjects=["application"] * count,
        inputs={"x": rng.random((count, 20), np.float32)},
        outputs={"predictions": (scores[:, 1] > 0.5).astype(np.int64), "probabilities": scores},
    )  # fmt: skip


def _outcomes(path: Path, numbers: list[int], more: int) -> None:
    with path.open("w") as file:
        file.write("request_id,value,observed_at\n")
        file.writelines(f"{_id(number)},{number % 2 + more},2030-04-01T00:00:00Z\n" for number in numbers)


def _id(number: int) -> str:
    return f"5e8f1c2a-{number:012}"


def join(folder: Path, records: int) -> dict[str, Any]:
    """What was counted, how long each step took, and the most memory that was used."""
    store = open_table_store(folder / "table")
    now_s = [float(BEGIN_S + 10_000_000)]
    spool = OutcomeSpool(folder / "outcomes", lambda: now_s[0])
    places = LogPlaces((folder / "predlog",), store, spool, folder / "cache")
    seconds: dict[str, float] = {}
    began = step = time.monotonic()

    def done(name: str) -> None:
        nonlocal step
        seconds[name], step = round(time.monotonic() - step, 2), time.monotonic()

    compact_all(places)
    done("compact")
    spool.add_file(folder / "labels.csv", store)
    before_s = now_s[0]
    now_s[0] += 60
    spool.add_file(folder / "corrections.csv", store)
    spool.add_file(folder / "labels.csv", store)
    done("take")
    compact_all(places)
    done("forward")
    asked = (
        'SELECT count(*), count(DISTINCT request_id), count("outcome.label"), count(*) FILTER ("outcome.label" >= 5),'
        ' count(*) FILTER ("outcome.label" % 5 = CAST(substr(request_id, 10) AS BIGINT) % 2) FROM joined'
    )
    ((rows, requests, labelled, corrected, right),) = query(places, asked).rows
    done("join")
    ((as_before,),) = query(
        places, 'SELECT count(*) FROM joined WHERE "outcome.label" < 2', Selection(as_of=before_s + 1)
    ).rows
    ((outcomes,),) = query(places, "SELECT count(*) FROM outcomes").rows
    done("join_as_of")
    exported = export(places, "joined", folder / "joined.parquet")
    done("export")
    seconds["total"] = round(time.monotonic() - began, 2)
    if right != records:
        raise ValueError(f"{records - right} of {records} records have an outcome that is not theirs")
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    counts = {"rows": rows, "requests": requests, "labelled": labelled, "corrected": corrected}
    counts |= {"as_before": as_before, "outcomes": outcomes, "exported": exported}
    return {**counts, "seconds": seconds, "peak_mb": peak_mb}


def main(words: list[str]) -> None:
    """One of the two steps."""
    what, folder, records = words[0], Path(words[1]), int(words[2])
    if what == "make":
        make(folder, records)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    sys.stdout.write(msgspec.json.encode(join(folder, records)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
