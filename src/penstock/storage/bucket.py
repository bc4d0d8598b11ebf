"""A bucket of S3, or of anything that speaks it, through obstore (extra `[s3]`): which one, and what its failures mean.

Credentials come from the usual `AWS_*` environment variables or the machine's role, never from the address.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec

from penstock.core.errors import InvalidInput, NotFound, Refused, Unavailable, Unsupported

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_OPTIONS = frozenset({"endpoint", "region", "allow_http"})


class Bucket(msgspec.Struct, frozen=True):
    """A bucket and a prefix in it; `place` is its address for people, `options` are those that the address gave."""

    store: S3Store
    place: str
    options: Mapping[str, str]

    @contextmanager
    def errors(self, missing: NotFound) -> Iterator[None]:
        """Raise `missing` where an object is not there, Unavailable (`artifacts-unavailable`) for all else."""
        from obstore.exceptions import BaseError, NotFoundError

        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise missing from None
        except BaseError as error:
            text = str(error).strip().partition("\n")[0][:300]
            raise Unavailable(
                "artifacts-unavailable", f"{self.place}: {text}", hint="check bucket, endpoint and AWS_* variables"
            ) from error


def open_bucket(url: str, environ: Mapping[str, str] = os.environ) -> Bucket:
    """Open `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`; every option may come from the environment instead.

    Raises InvalidInput for an address that cannot be meant, Refused for plain HTTP to another machine, Unsupported
    when the extra is not installed. Nothing is contacted yet.
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
    return Bucket(store, place, options)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
