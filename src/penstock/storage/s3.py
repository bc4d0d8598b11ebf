"""Blobs in S3 or anything that speaks it."""

from __future__ import annotations

import tempfile
from collections.abc import Set
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlencode

from penstock.core.digest import PREFIX, digest_of_file
from penstock.core.errors import InvalidInput, NotFound, Refused
from penstock.storage.blobs import key_of
from penstock.storage.bucket import Bucket
from penstock.storage.disk import disk_errors


class S3:
    """The port `Blobs` over one bucket and prefix; the options of its address are repeated in every blob's."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._store = bucket.store

    def put(self, path: Path) -> str:
        """Upload the file; see `Blobs.put`. An object becomes visible whole, when its upload is complete."""
        digest = digest_of_file(path)
        with self._errors():
            # Two writers of one key write the same bytes, so no condition is needed, and services that ignore
            # conditions do no harm. The size finds an object that somebody cut short.
            if self._size(digest) != path.stat().st_size:
                self._store.put(key_of(digest), path)
        return digest

    def fetch(self, digest: str, into: Path) -> Path:
        """Download into the folder `into`, checked, then renamed; see `Blobs.fetch`."""
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        final = into / key_of(digest)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as scratch:
            partial = Path(scratch, "blob")
            with self._errors():
                pieces = self._store.get(key_of(digest))
                with disk_errors(str(into)), partial.open("wb") as file:
                    file.writelines(pieces)
            if digest_of_file(partial) != digest:
                raise Refused(
                    "tampered-artifact", f"{self.uri(digest)} is not what was stored", hint="register the bundle again"
                )
            partial.replace(final)
        return final

    def exists(self, digest: str) -> bool:
        """Whether the object is there; see `Blobs.exists`."""
        with self._errors():
            return self._size(digest) is not None

    def uri(self, digest: str) -> str:
        """An `s3://` address with endpoint and region where they were given; see `Blobs.uri`."""
        options = self._bucket.options
        return f"{self._bucket.place}/{key_of(digest)}" + (f"?{urlencode(options)}" if options else "")

    def collect(self, keep: Set[str], *, delete: bool) -> int:
        """Count or delete what is not kept; see `Blobs.collect`. Unfinished uploads are the bucket's to expire."""
        kept = {key_of(digest) for digest in keep}
        with self._errors():
            keys = [str(item["path"]) for page in self._store.list() for item in page]
            doomed = [key for key in keys if key not in kept and _is_key(key)]
            if delete and doomed:
                self._store.delete(doomed)
        return len(doomed)

    def _size(self, digest: str) -> int | None:
        from obstore.exceptions import NotFoundError

        try:
            return int(self._store.head(key_of(digest))["size"])
        except (NotFoundError, FileNotFoundError):
            return None

    def _errors(self) -> AbstractContextManager[None]:
        gone = NotFound(
            "missing-artifact", f"an object is gone from {self._bucket.place}", hint="register the bundle again"
        )
        return self._bucket.errors(gone)


def _is_key(name: str) -> bool:
    try:
        return key_of(PREFIX + name) == name
    except InvalidInput:
        return False
