"""Logs in a file that cannot grow without end."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import NoReturn

MOST_BYTES = 16 * 2**20
KEEP = 3
_LOOK_S = 1.0


def open_log(path: Path) -> int:
    """A descriptor that appends to the file, which is kept below `MOST_BYTES` by a thread of this process."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    threading.Thread(target=_rotate_forever, args=(path,), name="rotate", daemon=True).start()
    return descriptor


def rotate(path: Path, most_bytes: int = MOST_BYTES, keep: int = KEEP) -> bool:
    """Move what the file holds to `NAME.1` (and that to `NAME.2` …) if it is too large; whether it was.

    Copied and emptied, not renamed: several processes append through the descriptor they were born with. A line
    that is written between the two is lost.
    """
    if path.stat().st_size < most_bytes:
        return False
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            numbered(path, number).replace(numbered(path, number + 1))
    partial = path.with_name(f"{path.name}.partial")
    with path.open("rb") as source, partial.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        os.truncate(path, 0)
    partial.replace(numbered(path, 1))
    return True


def numbered(path: Path, number: int) -> Path:
    """The file of older lines; 1 is the youngest."""
    return path.with_name(f"{path.name}.{number}")


def _rotate_forever(path: Path) -> NoReturn:
    while True:
        threading.Event().wait(_LOOK_S)
        # A full disk, or somebody who moved the folder away: logs are not worth a node.
        with contextlib.suppress(OSError):
            rotate(path)
