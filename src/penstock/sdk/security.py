"""What a client proves itself with, and whom it believes."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx
import msgspec

from penstock.core.errors import InvalidInput

Verify = bool | str | Path | ssl.SSLContext
Certificate = str | Path | tuple[str | Path, str | Path]


class Security(msgspec.Struct, frozen=True):
    """`key` is an API key, or a token ("": none).

    `verify` is a file of authorities to believe instead of the usual ones, or an `ssl.SSLContext`; False believes
    anybody. `cert` is a certificate for mutual TLS: one file, or it and its key.
    """

    key: str = ""
    verify: Verify = True
    cert: Certificate | None = None

    def __post_init__(self) -> None:
        # It becomes a line of a header; a line break would begin another one.
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise InvalidInput("invalid-option", "the key has characters that no key has", hint="was it cut or joined?")

    def __repr__(self) -> str:
        """Without the key: this may stand in tracebacks and logs."""
        return f"Security(key={'...' if self.key else ''!r}, verify={self.verify!r}, cert={self.cert!r})"


def security_of(key: str | None, verify: Verify, cert: Certificate | None, *, own: bool) -> Security:
    """What the arguments of a client say; a key that is not given is the environment's PENSTOCK_KEY.

    `own` is whether the HTTP client is ours; raises InvalidInput (`invalid-option`) where one that was handed in would
    not obey them.
    """
    if not own and (key is not None or verify is not True or cert is not None):
        raise InvalidInput(
            "invalid-option",
            "key, verify and cert are not for a client that is handed in as http",
            hint="give them to that one",
        )
    return Security((os.environ.get("PENSTOCK_KEY", "") if key is None else key).strip(), verify, cert)


def headers_of(security: Security) -> dict[str, str]:
    """The headers that every request carries."""
    return {"authorization": f"Bearer {security.key}"} if security.key else {}


def tls_of(security: Security) -> ssl.SSLContext:
    """The context for https; raises InvalidInput (`invalid-certificate`) that names the files."""
    verify = security.verify
    if isinstance(verify, ssl.SSLContext):
        return verify
    cert = security.cert if isinstance(security.cert, tuple) else (security.cert, None)
    try:
        if isinstance(verify, bool):
            context = httpx.create_ssl_context(verify=verify)
        else:
            context = ssl.create_default_context(cafile=verify)
        if cert[0] is not None:
            # A function for the password: without it OpenSSL asks on the terminal.
            context.load_cert_chain(cert[0], cert[1], password=lambda: "")
    except (OSError, ValueError) as error:
        files = " or ".join(str(path) for path in (verify, *cert) if isinstance(path, str | Path))
        raise InvalidInput("invalid-certificate", f"{files} cannot be used: {error}", hint="give PEM files") from None
    return context
