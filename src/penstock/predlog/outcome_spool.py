"""Where outcomes are kept first: on this machine, so that none is lost while the table's store is away.

A few at a time go into a journal, a line of JSON each; a whole file becomes one Parquet file. `forward` moves both
into the table. A batch's name follows from what is in it, so moving it again replaces it by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from penstock.core.clock import Clock, wall
from penstock.core.digest import digest_of_file
from penstock.core.errors import Unavailable
from penstock.predlog.outcome_batch import write_batch
from penstock.predlog.outcome_files import read_outcomes
from penstock.predlog.outcomes import Outcome, Received, check_outcome
from penstock.predlog.table_store import TableStore, sync_folder
from penstock.storage.disk import disk_errors

FOLDER = "outcomes"
_JOURNAL = "journal.jsonl"
_CLOSED = "closed-"
_BATCH = "batch-"
_SCRATCH = "scratch-"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Received).decode


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken. `again` says that this very file had been taken before, so that nothing was added."""

    outcomes: int
    received_us: int
    again: bool = False
    batch: str = ""


class Forwarded(msgspec.Struct, frozen=True, kw_only=True):
    """What went into the table. `waiting` files stay for the next time, for the reason in `problem`."""

    batches: int = 0
    damaged: int = 0
    waiting: int = 0
    problem: str = ""


class OutcomeSpool:
    """The outcomes that this machine has taken; several processes may share it. `clock` is seconds since 1970."""

    def __init__(self, folder: Path, clock: Clock = wall) -> None:
        self.folder = folder
        self._clock = clock

    def append(self, outcomes: Sequence[Outcome]) -> Taken:
        """Take a few, durable when this returns; all of them or none.

        Raises InvalidInput (`invalid-outcome`), Unavailable (`disk-full`, `log-unavailable`).
        """
        for outcome in outcomes:
            check_outcome(outcome)
        with self._alone() as handle:
            received_us = self._receive(handle)
            entries = (Received(received_us, at, outcome) for at, outcome in enumerate(outcomes))
            self._write(b"".join(_encode(entry) + b"\n" for entry in entries))
        return Taken(outcomes=len(outcomes), received_us=received_us)

    def add_file(self, path: Path, store: TableStore, name: str = "") -> Taken:
        """Take a whole file (see `read_outcomes`), or nothing of it; the same bytes a second time add nothing.

        The store is asked whether it has them already; while it is away, that the file is here is all that is known.
        """
        batch = hashlib.sha256(f"{digest_of_file(path) if path.is_file() else ''} {name}".encode()).hexdigest()[:32]
        with self._alone() as handle:
            received_us = self._receive(handle)
            if any(batch in known for known in [*self._names(), *_keys_or_none(store)]):
                return Taken(outcomes=0, received_us=received_us, again=True, batch=batch)
            final = self.folder / f"{_BATCH}{received_us:016}-{batch}.parquet"
            order = count()
            received = (Received(received_us, next(order), outcome) for outcome in read_outcomes(path, name))
            with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.folder) as scratch:
                taken = write_batch(received, Path(scratch, final.name))
                Path(scratch, final.name).replace(final)
            sync_folder(self.folder)
        return Taken(outcomes=taken, received_us=received_us, batch=batch)

    def forward(self, store: TableStore) -> Forwarded:
        """Move everything into the table; what the store does not take now stays here."""
        batches = damaged = 0
        with self._alone():
            for forsaken in self.folder.glob(f"{_SCRATCH}*"):
                # Whoever holds the lock works alone: this is what a killed one left.
                shutil.rmtree(forsaken, ignore_errors=True)
            self._close_journal()
            waiting = [name for name in self._names() if name != _JOURNAL]
            for number, name in enumerate(waiting):
                try:
                    damaged += self._move(self.folder / name, store)
                except Unavailable as error:
                    left = len(waiting) - number
                    return Forwarded(batches=batches, damaged=damaged, waiting=left, problem=str(error))
                batches += 1
        return Forwarded(batches=batches, damaged=damaged)

    def snapshot(self, into: Path) -> list[Path]:
        """What is here, as Parquet files in the folder `into`, by the names that they get in the table."""
        if not self.folder.is_dir():
            return []
        with self._alone():
            batches = [self._batch(self.folder / name, into)[0] for name in self._names()]
            # Linked, because `forward` may move it on before it is read.
            return [path if path.parent == into else _linked(path, into / path.name) for path in batches]

    def _move(self, path: Path, store: TableStore) -> int:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.folder) as scratch:
            batch, damaged = self._batch(path, Path(scratch))
            store.put(f"{FOLDER}/{batch.name}", batch)
        if damaged:
            path.rename(path.with_name(f"damaged-{path.name}"))
        else:
            path.unlink()
        return damaged

    def _batch(self, path: Path, into: Path) -> tuple[Path, int]:
        """The file as Parquet, and how many of its lines could not be read."""
        if path.name.startswith(_BATCH):
            return path, 0
        wrong: list[bytes] = []
        with disk_errors(str(self.folder)):
            with path.open("rb") as file:
                first = file.readline()
            # Of the first line alone: a journal that grows keeps its name, so what is read now is known again later.
            batch = into / f"{_BATCH}{_received_us(first):016}-{hashlib.sha256(first).hexdigest()[:32]}.parquet"
            write_batch(_entries(path, wrong), batch)
        return batch, len(wrong)

    def _names(self) -> list[str]:
        names = (path.name for path in self.folder.iterdir() if path.is_file())
        return sorted(name for name in names if name.startswith((_BATCH, _CLOSED)) or name == _JOURNAL)

    def _write(self, data: bytes) -> None:
        handle = os.open(self.folder / _JOURNAL, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = _whole_lines(handle)
            os.lseek(handle, end, os.SEEK_SET)
            try:
                written = 0
                while written < len(data):
                    written += os.write(handle, data[written:])
                os.fsync(handle)
            except OSError:
                # Half of them would count twice when the caller tries again.
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)

    def _close_journal(self) -> None:
        journal = self.folder / _JOURNAL
        if not journal.is_file():
            return
        handle = os.open(journal, os.O_RDWR | os.O_CLOEXEC)
        try:
            length = _whole_lines(handle)
        finally:
            os.close(handle)
        if length == 0:
            journal.unlink()
            return
        with journal.open("rb") as file:
            first = _received_us(file.readline())
        journal.rename(self.folder / f"{_CLOSED}{first:016}.jsonl")

    def _receive(self, lock: int) -> int:
        """The time of receiving, in microseconds: always later than the last one given.

        A clock that is set back must not make a correction older than what it corrects.
        """
        text = os.pread(lock, 32, 0).strip()
        received_us = max(round(self._clock() * 1e6), int(text) + 1 if text.isdigit() else 0)
        os.pwrite(lock, b"%020d\n" % received_us, 0)
        return received_us

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The lock on the spool; it ends with the process, however that ends."""
        with disk_errors(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield handle
            finally:
                os.close(handle)


def _linked(path: Path, link: Path) -> Path:
    try:
        os.link(path, link)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(path, link)
    return link


def _keys_or_none(store: TableStore) -> list[str]:
    try:
        return store.keys(FOLDER)
    except Unavailable:
        # Taking outcomes must not depend on the store. One file taken twice adds the same values once more.
        return []


def _entries(path: Path, wrong: list[bytes]) -> Iterator[Received]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                wrong.append(line[:200])


def _received_us(line: bytes) -> int:
    try:
        return _decode(line).received_us
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def _whole_lines(handle: int) -> int:
    """Cut off a line that a kill left unfinished (nobody was told that it was taken); the length of the rest."""
    end = os.lseek(handle, 0, os.SEEK_END)
    at = end
    while at > 0:
        start = max(0, at - 4096)
        newline = os.pread(handle, at - start, start).rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at < end:
        os.ftruncate(handle, at)
    return at
