"""TLS of a port: the certificate it shows, and whom it asks for one. Contexts are made from files, and made anew.

Protocol versions and ciphers are those of Python's `ssl.create_default_context`, which follow OpenSSL's advice.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Literal

import msgspec

from penstock.core.errors import InvalidInput

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Files in PEM form. With `client_ca` only clients whose certificate it signed may connect (mutual TLS).

    `certificate` holds the chain, the server's own first; `minimum` is the oldest version of TLS that is spoken.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    minimum: Literal["1.2", "1.3"] = "1.2"


def server_context(settings: TlsSettings, protocol: str = "http/1.1") -> ssl.SSLContext:
    """The context of a server that speaks `protocol`, as ALPN names it.

    Raises InvalidInput (`invalid-certificate`) that names the file at fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM[settings.minimum]
    # A client must not make us do the dear part of a handshake again and again on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    _readable(settings.certificate)
    _readable(settings.key)
    try:
        # With a function for the password an encrypted key is an error; without it OpenSSL asks on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise _invalid(f"{settings.certificate} and {settings.key} are no certificate and its key: {error}") from None
    if settings.client_ca is not None:
        _readable(settings.client_ca)
        try:
            context.load_verify_locations(settings.client_ca)
        except (ssl.SSLError, ValueError) as error:
            raise _invalid(f"{settings.client_ca} holds no certificate of an authority: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


Mark = tuple[tuple[int, int, int], ...]


def mark_of(settings: TlsSettings) -> Mark:
    """What changes when one of the files is replaced, also behind a link; a file that is away counts as changed."""
    marks = []
    for path in (settings.certificate, settings.key, settings.client_ca):
        mark = (0, 0, 0)
        if path is not None:
            with contextlib.suppress(OSError):
                stat = path.stat()
                mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        marks.append(mark)
    return tuple(marks)


def _readable(path: Path) -> None:
    # OpenSSL's own error names no file.
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from None


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("invalid-certificate", message, hint="give files in PEM form, the key without a password")
