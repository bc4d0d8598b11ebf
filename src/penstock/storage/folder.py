"""Blobs in a folder: a temporary file, synced, then renamed to its digest, so a reader never sees half a file."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from penstock.core.digest import digest_of_file
from penstock.core.errors import Conflict, NotFound, Refused
from penstock.storage.blobs import key_of
from penstock.storage.disk import disk_errors

_PARTIAL = ".partial-"


class Folder:
    """The port `Blobs` over one folder, which several processes may share."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, path: Path) -> str:
        """Store the file's bytes; see `Blobs.put`."""
        with disk_errors(f"the artifacts folder {self._root}"):
            digest = digest_of_file(path)
            final = self._root / key_of(digest)
            if final.is_file() and digest_of_file(final) == digest:
                return digest
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _partial_file(self._root) as (partial, handle):
                shutil.copyfile(path, partial)
                os.fsync(handle)
                if digest_of_file(partial) != digest:
                    raise Conflict("changed-file", f"{path} changed while it was being stored", hint="try again")
                partial.replace(final)
            _sync_folder(self._root)
        return digest

    def fetch(self, digest: str, into: Path) -> Path:
        """The folder's own file, after its bytes were checked; see `Blobs.fetch`."""
        path = self._root / key_of(digest)
        if not path.is_file():
            raise NotFound("missing-artifact", f"{path} is gone", hint="register the bundle again to put it back")
        if digest_of_file(path) != digest:
            raise Refused("tampered-artifact", f"{path} is not what was stored", hint="register the bundle again")
        return path

    def exists(self, digest: str) -> bool:
        """Whether the blob is there; see `Blobs.exists`."""
        return (self._root / key_of(digest)).is_file()

    def uri(self, digest: str) -> str:
        """A `file://` address; see `Blobs.uri`."""
        return (self._root / key_of(digest)).as_uri()

    def collect(self, keep: Set[str], *, delete: bool) -> int:
        """Count or delete what is not kept; see `Blobs.collect`."""
        if not self._root.is_dir():
            return 0
        kept = {key_of(digest) for digest in keep}
        with disk_errors(f"the artifacts folder {self._root}"):
            paths = list(self._root.iterdir())
            doomed = [path for path in paths if path.name not in kept and _is_key(path.name)]
            if delete:
                for path in doomed:
                    path.unlink(missing_ok=True)
                for path in paths:
                    if path.name.startswith(_PARTIAL):
                        _delete_if_abandoned(path)
        return len(doomed)


def _is_key(name: str) -> bool:
    # A user's own file in the folder is none of our business.
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


@contextmanager
def _partial_file(root: Path) -> Iterator[tuple[Path, int]]:
    handle, name = _locked_file(root)
    try:
        os.fchmod(handle, 0o644)
        yield Path(name), handle
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def _locked_file(root: Path) -> tuple[int, str]:
    while True:
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=root)
        # The lock says that the writer is alive; it ends with the process, however that ends.
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        # A collector came between creating and locking and took the file for an abandoned one.
        os.close(handle)


def _delete_if_abandoned(path: Path) -> None:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        # Its writer is alive, or has just finished.
        return


def _sync_folder(folder: Path) -> None:
    # Without this a power cut after the rename can lose the name of a file whose row is already committed.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
