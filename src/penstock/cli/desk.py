"""Where commands ask control: on this machine's database, or through the API of a running one. Both answer alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.option_groups import OptionGroup
from penstock.cli.options import Place
from penstock.cli.settings import Settings, ensure_home
from penstock.core.errors import InvalidInput, NotFound, Unsupported

if TYPE_CHECKING:
    from penstock.cli.embedded import Embedded
    from penstock.cli.remote import Remote
    from penstock.sdk.security import Security

    Desk = Embedded | Remote

DEFAULT_FILE = Path("penstock.yaml")


class Server(OptionGroup, frozen=True):
    """Which control to ask, where it is not this machine's database."""

    server: Annotated[
        str, typer.Option(metavar="URL", help="Ask a running control (default: $PENSTOCK_SERVER; else the database).")
    ] = ""
    key: Annotated[
        str,
        typer.Option(metavar="KEY", help="The key for --server (default: $PENSTOCK_KEY, or admin.key in the home)."),
    ] = ""
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The authority that the server's certificate must be from (default: $PENSTOCK_CA_FILE).",
        ),
    ] = None
    cert_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A certificate of your own, and its key (default: $PENSTOCK_CERT_FILE)."),
    ] = None

    @property
    def address(self) -> str:
        """The address of the control to ask; "" where the database is meant. Raises InvalidInput."""
        url = self.server or os.environ.get("PENSTOCK_SERVER", "")
        if url and not url.startswith(("http://", "https://")):
            raise InvalidInput("invalid-address", f"{url!r} is no address", hint="--server http://127.0.0.1:8700")
        return url.rstrip("/")

    def security(self, key: str) -> Security:
        """What control is asked with, and whom to believe to be it."""
        from penstock.sdk.security import Security

        authority = self.ca_file or os.environ.get("PENSTOCK_CA_FILE") or True
        return Security(key, authority, self.cert_file or os.environ.get("PENSTOCK_CERT_FILE") or None)


def open_desk(place: Place, server: Server) -> Desk:
    """The desk that options and environment name; raises Unsupported (`missing-extra`), NotFound (`no-key`)."""
    return open_remote(place, server) if server.address else open_embedded(place.settings(os.environ))


def open_remote(place: Place, server: Server) -> Remote:
    """The desk at the server's address; raises what `open_desk` does."""
    home = place.settings(os.environ).home
    key = server.key or os.environ.get("PENSTOCK_KEY", "") or _own_key(home / "admin.key")
    try:
        from penstock.cli.remote import Remote
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return Remote(server.address, server.security(key), home / "bundles")


def open_embedded(settings: Settings) -> Embedded:
    """The desk on this machine's database; raises Unsupported (`missing-extra`)."""
    try:
        from penstock.cli.embedded import Embedded
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    ensure_home(settings)
    return Embedded(settings, log_address=os.environ.get("PENSTOCK_LOG", ""))


def _missing(error: ModuleNotFoundError) -> Unsupported:
    return Unsupported("missing-extra", f"control needs {error.name}", hint="pip install 'penstock[control]'")


def _own_key(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        raise NotFound("no-key", f"there is no key, and none in {path}", hint="give --key KEY") from None
