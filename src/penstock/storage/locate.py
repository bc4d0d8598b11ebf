"""From an address to the store behind it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.core.digest import PREFIX
from penstock.core.errors import Unsupported
from penstock.storage.blobs import Blobs, key_of
from penstock.storage.bucket import open_bucket
from penstock.storage.folder import Folder
from penstock.storage.s3 import S3


def open_blobs(url_or_path: str | Path) -> Blobs:
    """The store at a folder's path, a `file://` address or `s3://BUCKET/PREFIX`; nothing is created or contacted yet.

    Example:
        >>> open_blobs("/srv/models").uri("sha256:" + "0" * 64)[:26]
        'file:///srv/models/0000000'
    """
    text = str(url_or_path)
    scheme = text.partition("://")[0] if "://" in text else ""
    if isinstance(url_or_path, Path) or not scheme:
        return Folder(Path(url_or_path))
    if scheme == "file":
        return Folder(Path(unquote(urlsplit(text).path)))
    if scheme == "s3":
        return S3(open_bucket(text))
    raise Unsupported(
        "unsupported-artifacts", f"artifacts cannot be kept at {scheme}://", hint="use a folder or s3://BUCKET/PREFIX"
    )


def open_uri(uri: str) -> tuple[Blobs, str]:
    """The store that holds one blob, and the blob's digest, from the address `Blobs.uri` gave.

    Example:
        >>> store, digest = open_uri("file:///srv/models/" + "0" * 64)
        >>> digest[:10]
        'sha256:000'
    """
    place, question, query = uri.partition("?")
    folder, _, key = place.rpartition("/")
    digest = PREFIX + key
    key_of(digest)
    return open_blobs(folder + question + query), digest
