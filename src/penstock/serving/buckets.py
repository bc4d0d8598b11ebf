"""The rate limits' state: one number for each key that has a rate, shared by the processes of a node.

Each process with buckets of its own would multiply the rate by their number, a fair part for each would starve a
client whose one connection the kernel gave to one process. So the numbers are in mapped memory, as the counters are.
Two processes may read and write the same one at the same moment; then one call is not counted, which a limit can bear.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable
from pathlib import Path

import msgspec

from penstock.core.digest import canonical_json, digest_of, short

_SIZE = 8


class Buckets(msgspec.Struct, frozen=True):
    """`cells[index[key_id]]` is what `security.rates.take` needs, in monotonic seconds of this machine."""

    index: dict[str, int]
    cells: memoryview[float]


def open_buckets(directory: Path, key_ids: Iterable[str]) -> Buckets:
    """The buckets of these keys: the same for every process that asks for the same keys. The first time they are full.

    Where no file can be made the process counts for itself: a full disk must not keep a node from obeying its routes.
    """
    index = {key_id: number for number, key_id in enumerate(sorted(key_ids))}
    if not index:
        return Buckets({}, _cells(bytearray()))
    path = directory / f"rates-{short(digest_of(canonical_json(list(index))))}"
    try:
        cells = _map(path, len(index) * _SIZE)
    except OSError:
        return Buckets(index, _cells(bytearray(len(index) * _SIZE)))
    for other in directory.glob("rates-*"):
        if other != path:
            # Still mapped by a process that has not seen the new routes, it lives on there for as long.
            with contextlib.suppress(OSError):
                other.unlink()
    return Buckets(index, cells)


def _map(path: Path, size: int) -> memoryview[float]:
    with path.open("a+b") as file:
        # Written, not only made longer: a full disk must be an error here, and not a signal at the first call.
        file.write(bytes(max(0, size - path.stat().st_size)))
        file.flush()
        return _cells(mmap.mmap(file.fileno(), size))


def _cells(memory: bytearray | mmap.mmap) -> memoryview[float]:
    return memoryview(memory).cast("d")
