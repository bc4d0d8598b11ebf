"""Where the table's files are: a folder, or S3. Files have names here, and a name never gets other bytes.

It is not `storage.blobs`, whose files are named by their digest: other programs must find these by endpoint and day.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from penstock.core.errors import NotFound, Unavailable, Unsupported
from penstock.storage.bucket import Bucket, open_bucket
from penstock.storage.disk import disk_errors

_SCRATCH = ".scratch-"


class TableStore(Protocol):
    """Files by key (`a/b/c.parquet`). Every verb may be repeated: the second time changes nothing.

    Adapters raise Unavailable (`log-unavailable`, `disk-full`) when the store cannot be reached or is full.
    """

    def put(self, key: str, path: Path) -> None:
        """Store the file's bytes under `key`: whole afterwards, or not at all."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys below the folder `prefix`, sorted; none where there is no such folder."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """The same keys, with the bytes of each."""
        ...

    def local(self, key: str, cache: Path) -> Path:
        """A local file with these bytes: the store's own, or one kept in `cache`. Raises NotFound (`missing-part`)."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete these; one that is gone already is no failure."""
        ...


class TableFolder:
    """The port over a folder: a temporary file, synced, then renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, key: str, path: Path) -> None:
        """See `TableStore.put`."""
        final = self._root / key
        with _log_errors(str(self._root)):
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=_SCRATCH, dir=final.parent)
            try:
                with os.fdopen(handle, "wb") as target, path.open("rb") as source:
                    shutil.copyfileobj(source, target, 2**20)
                    target.flush()
                    os.fsync(target.fileno())
                Path(name).replace(final)
            finally:
                Path(name).unlink(missing_ok=True)
            sync_folder(final.parent)

    def keys(self, prefix: str) -> list[str]:
        """See `TableStore.keys`; what killed writers left is none of them."""
        with _log_errors(str(self._root)):
            found = (path for path in (self._root / prefix).rglob("*") if path.is_file())
            return sorted(p.relative_to(self._root).as_posix() for p in found if not p.name.startswith(_SCRATCH))

    def sizes(self, prefix: str) -> dict[str, int]:
        """See `TableStore.sizes`."""
        found = {}
        for key in self.keys(prefix):
            # Somebody else may delete it meanwhile.
            with suppress(FileNotFoundError), _log_errors(str(self._root)):
                found[key] = (self._root / key).stat().st_size
        return found

    def local(self, key: str, cache: Path) -> Path:
        """See `TableStore.local`."""
        path = self._root / key
        if not path.is_file():
            raise NotFound("missing-part", f"{path} is gone", hint="ask again: the log may have been trimmed meanwhile")
        return path

    def delete(self, keys: Iterable[str]) -> None:
        """See `TableStore.delete`."""
        with _log_errors(str(self._root)):
            for key in keys:
                (self._root / key).unlink(missing_ok=True)


class TableS3:
    """The port over one bucket and prefix. An object is visible when its upload is complete."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._store = bucket.store

    def put(self, key: str, path: Path) -> None:
        """See `TableStore.put`."""
        with self._errors():
            self._store.put(key, path)

    def keys(self, prefix: str) -> list[str]:
        """See `TableStore.keys`."""
        with self._errors():
            return sorted(str(item["path"]) for page in self._store.list(f"{prefix}/") for item in page)

    def sizes(self, prefix: str) -> dict[str, int]:
        """See `TableStore.sizes`."""
        with self._errors():
            return {str(item["path"]): int(item["size"]) for page in self._store.list(f"{prefix}/") for item in page}

    def local(self, key: str, cache: Path) -> Path:
        """See `TableStore.local`. A key never gets other bytes, so what was fetched once is good."""
        final = cache / key
        if final.is_file():
            return final
        with _log_errors(str(cache)):
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=cache) as scratch:
                partial = Path(scratch, "part")
                with self._errors(), partial.open("wb") as file:
                    file.writelines(self._store.get(key))
                partial.replace(final)
        return final

    def delete(self, keys: Iterable[str]) -> None:
        """See `TableStore.delete`."""
        doomed = list(keys)
        with self._errors():
            if doomed:
                self._store.delete(doomed)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        gone = NotFound(
            "missing-part",
            f"a file of the log is gone from {self._bucket.place}",
            hint="ask again: the log may have been trimmed meanwhile",
        )
        with _log_errors(self._bucket.place), self._bucket.errors(gone):
            yield


def open_table_store(url_or_path: str | Path) -> TableStore:
    """The store at a folder's path, a `file://` address or `s3://BUCKET/PREFIX`; nothing is created or contacted yet.

    Raises what `storage.bucket.open_bucket` raises, and Unsupported (`unsupported-log`) for any other kind of address.
    """
    text = str(url_or_path)
    scheme = text.partition("://")[0] if "://" in text else ""
    if isinstance(url_or_path, Path) or not scheme:
        return TableFolder(Path(url_or_path))
    if scheme == "file":
        return TableFolder(Path(unquote(urlsplit(text).path)))
    if scheme == "s3":
        # The same address rules and retries as for artifacts; only the names of the files differ.
        return TableS3(open_bucket(text))
    raise Unsupported(
        "unsupported-log", f"the log cannot be kept at {scheme}://", hint="use a folder or s3://BUCKET/PREFIX"
    )


@contextmanager
def _log_errors(place: str) -> Iterator[None]:
    try:
        with disk_errors(place):
            yield
    except Unavailable as error:
        if error.code == "artifacts-unavailable":
            raise Unavailable("log-unavailable", error.message, hint=error.hint) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is lost in a power failure until this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
