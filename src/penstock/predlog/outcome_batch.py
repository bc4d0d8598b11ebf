"""Outcomes as one Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from penstock.predlog.outcomes import COLUMNS, Received, columns_of
from penstock.predlog.table_engine import engine_errors, literal, open_engine

_ROWS_AT_ONCE = 20_000


def write_batch(received: Iterable[Received], path: Path) -> int:
    """Write the outcomes to `path`, on disk when this returns, a piece at a time; how many there were.

    `path` is to be in a folder for scratch: a failure leaves half a file. Raises Unavailable (`disk-full`), and
    whatever `received` raises.
    """
    total = 0
    entries = iter(received)
    engine = open_engine(path.parent)
    try:
        with engine_errors("keeping outcomes"):
            engine.execute(f"CREATE TABLE batch ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        while chunk := list(islice(entries, _ROWS_AT_ONCE)):
            with engine_errors("keeping outcomes"):
                engine.register("arrays", columns_of(chunk))
                engine.execute("INSERT INTO batch BY NAME FROM arrays")
                engine.unregister("arrays")
            total += len(chunk)
        with engine_errors("keeping outcomes"):
            engine.execute(f"COPY batch TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    finally:
        engine.close()
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return total
