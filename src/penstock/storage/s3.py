"""Blobs in S3 or anything that speaks it, through obstore (extra `[s3]`).

Credentials come from the usual `AWS_*` environment variables or the machine's role, never from the address.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from penstock.core.digest import PREFIX, digest_of_file
from penstock.core.errors import InvalidInput, NotFound, Refused, Unavailable, Unsupported
from penstock.storage.blobs import key_of
from penstock.storage.disk import disk_errors

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_OPTIONS = frozenset({"endpoint", "region", "allow_http"})


class S3:
    """The port `Blobs` over one bucket and prefix; `options` of its address are repeated in every blob's."""

    def __init__(self, store: S3Store, place: str, options: Mapping[str, str]) -> None:
        self._store = store
        self._place = place
        self._options = dict(options)

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
        return f"{self._place}/{key_of(digest)}" + (f"?{urlencode(self._options)}" if self._options else "")

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

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError

        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise NotFound(
                "missing-artifact", f"an object is gone from {self._place}", hint="register the bundle again"
            ) from None
        except BaseError as error:
            text = str(error).strip().partition("\n")[0][:300]
            raise Unavailable(
                "artifacts-unavailable", f"{self._place}: {text}", hint="check bucket, endpoint and AWS_* variables"
            ) from error


def open_s3(url: str, environ: Mapping[str, str] = os.environ) -> S3:
    """Open `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`; every option may come from the environment instead.

    Raises InvalidInput for an address that cannot be meant, Refused for plain HTTP to another machine, Unsupported
    when the extra is not installed.
    """
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise Unsupported("missing-extra", f"S3 needs {error.name}", hint="pip install 'penstock[s3]'") from error
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.hostname or parts.username or parts.password or parts.fragment or not options.keys() <= _OPTIONS:
        # The address itself is not repeated: it may hold the secret that made it wrong.
        raise InvalidInput(
            "invalid-artifacts-url",
            "the artifacts address must read s3://BUCKET/PREFIX, with endpoint, region and allow_http at most",
            hint="give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    prefix = parts.path.strip("/")
    endpoint = options.get("endpoint") or next(
        (environ[name] for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if environ.get(name)), ""
    )
    explicit = (options.get("allow_http") or environ.get("AWS_ALLOW_HTTP", "")).lower() == "true"
    plain = endpoint.startswith("http://")
    if plain and not explicit and not _is_loopback(urlsplit(endpoint).hostname or ""):
        raise Refused(
            "insecure-endpoint",
            f"{endpoint} would carry models and signatures unencrypted",
            hint="use https, or add allow_http=true to the artifacts address",
        )
    place = f"s3://{parts.netloc}" + (f"/{prefix}" if prefix else "")
    config: S3Config = {}
    if endpoint:
        config["endpoint"] = endpoint
    if "region" in options:
        config["region"] = options["region"]
    store = S3Store(
        parts.netloc,
        prefix=prefix or None,
        client_options={"allow_http": plain, "connect_timeout": "5s", "timeout": "120s"},
        # The library's own default is to try for three minutes before a person reads the first word.
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        config=config,
    )
    return S3(store, place, options)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_key(name: str) -> bool:
    try:
        return key_of(PREFIX + name) == name
    except InvalidInput:
        return False
