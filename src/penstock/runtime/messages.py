"""Messages over a pipe: the length in 8 bytes, then that many bytes."""

from __future__ import annotations

from typing import IO


def read_message(pipe: IO[bytes]) -> bytes | None:
    """One message; None when the other end is gone, in the middle of one as well."""
    size = pipe.read(8)
    if len(size) < 8:
        return None
    length = int.from_bytes(size, "little")
    data = pipe.read(length)
    return data if len(data) == length else None


def write_message(pipe: IO[bytes], data: bytes) -> None:
    """One message, sent at once."""
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()
