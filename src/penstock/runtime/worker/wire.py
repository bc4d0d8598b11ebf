"""What is said on a worker's sockets: `docs/formats/worker.md` in code. Both sides import it; nothing here does I/O.

A message is its length (4 bytes, little-endian) and one tensor frame. Times are on the machine's monotonic clock,
which all its processes share.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from penstock.core import errors
from penstock.core.digest import short
from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.frames import encode_frame
from penstock.core.tensors import Tensors
from penstock.runtime.golden import Cost

PROTOCOL = 1
MAX_BYTES = 1 << 31
# sun_path: 108 bytes on Linux, 104 on macOS, with the final zero.
_MAX_PATH = 103

_CLASSES: dict[str, type[PenstockError]] = {
    kind.kind: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PenstockError)
}


class Fault(msgspec.Struct, frozen=True):
    """An error on its way to another process: code, kind and words; never a pickled exception."""

    code: str
    kind: str
    message: str
    hint: str = ""

    def to_error(self) -> PenstockError:
        """The error as it was raised on the other side."""
        return _CLASSES.get(self.kind, PenstockError)(self.code, self.message, hint=self.hint)


def fault_of(error: PenstockError) -> Fault:
    """What travels of an error.

    Example:
        >>> fault_of(InvalidInput("wrong-shape", "x has rank 3")).to_error()
        InvalidInput('wrong-shape', 'x has rank 3', '')
    """
    return Fault(error.code, error.kind, error.message, error.hint)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process is told on its command line."""

    bundle: str
    digest: str
    socket: str
    status_fd: int
    parent_pid: int
    allow_pickle: bool
    call_limit_s: float
    grace_s: float
    drain_s: float
    memory_bytes: int
    nice: int = 0


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from a worker to its parent: how far it has come, that it is ready, or why it cannot be."""

    stage: str = ""
    cost: Cost | None = None
    failed: Fault | None = None


def socket_path(run_directory: Path, digest: str, index: int) -> Path:
    """Where worker `index` of a bundle listens: known to every process of the node without asking anybody.

    Raises InvalidInput("run-directory-too-long"): the kernel cuts or refuses longer addresses of Unix sockets.
    """
    path = run_directory / f"{short(digest)}-{index}.sock"
    # One more for the `~` a worker adds while it is not ready.
    if len(os.fsencode(path)) + 1 > _MAX_PATH:
        raise InvalidInput(
            "run-directory-too-long",
            f"{run_directory} is too long to hold Unix sockets",
            hint="choose a folder with a path of at most 80 bytes",
        )
    return path


def message(tensors: Tensors, meta: dict[str, Any]) -> bytes:
    """One message, ready to send; raises InvalidInput("message-too-large")."""
    frame = encode_frame(tensors, meta)
    if len(frame) >= MAX_BYTES:
        raise InvalidInput("message-too-large", f"{len(frame)} bytes do not fit a message to a model process")
    return len(frame).to_bytes(4, "little") + frame


class Messages:
    """Cuts a stream of bytes into the frames of whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 4

    def feed(self, data: bytes) -> list[memoryview]:
        """The frames that are whole now; raises InvalidInput("message-too-large") on a length nobody may send.

        Example:
            >>> [bytes(frame) for frame in Messages().feed(bytes([2, 0, 0, 0]) + b"hi" + bytes([9, 0]))]
            [b'hi']
        """
        if self._buffer:
            self._buffer += data
            # Looked at again only when it can be whole: a large message in many pieces is copied once, not each time.
            if len(self._buffer) < self._need:
                return []
            data = bytes(self._buffer)
        # Nearly always `data` is exactly one message, which is used in place.
        frames, at, view, self._need = [], 0, memoryview(data), 4
        while len(view) - at >= 4:
            length = int.from_bytes(view[at : at + 4], "little")
            if length >= MAX_BYTES:
                raise InvalidInput("message-too-large", f"a message to a model process claims {length} bytes")
            self._need = 4 + length
            if len(view) - at < self._need:
                break
            frames.append(view[at + 4 : at + self._need])
            at += self._need
            self._need = 4
        self._buffer = bytearray(view[at:])
        return frames
