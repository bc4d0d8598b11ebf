"""`penstock up`: control and a local node in one command.

What control is made of is imported when the command runs: `penstock serve` shares this program and must start fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from penstock.cli.answers import tell
from penstock.cli.option_groups import spread
from penstock.cli.options import LOOPBACK, GrpcPort, Listening, Place
from penstock.cli.serve import usable_cores
from penstock.cli.settings import ensure_home
from penstock.core.errors import InvalidInput, Unsupported
from penstock.core.names import check_name

if TYPE_CHECKING:
    from penstock.security.tokens import IssuerSettings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(up))


def up(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Control's port.")] = 8700,
    node_port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="The local node's port.")] = 8080,
    grpc_port: GrpcPort = 0,
    name: Annotated[str, typer.Option(help="The local node's name; each node of a control has its own.")] = "local",
    no_node: Annotated[bool, typer.Option("--no-node", help="Run control alone.")] = False,
    processes: Annotated[
        int, typer.Option(metavar="N", min=0, help="The node's event loops; 0 is one per usable core.")
    ] = 0,
    issuer: Annotated[
        Path | None, typer.Option(help="A YAML file that says whose OIDC tokens are taken beside keys.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let model processes open pickles that have a waiver.")
    ] = False,
    *,
    listening: Listening,
    place: Place,
) -> None:
    """Run control and a local node until stopped. A node that an earlier `up` left running is found again.

    Both listen at --host, with the same certificate.

    Example: penstock up --port 8700 --node-port 8080
    """
    tls, require_key = listening.tls(), listening.require_key("penstock up", keys=True)
    settings = place.settings(os.environ)
    ensure_home(settings)
    try:
        from penstock.api.run import UpSettings, run_up
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"control needs {error.name}", hint="pip install 'penstock[control]'"
        ) from error
    from penstock.serving.settings import Following, NodeSettings, address_of

    state = settings.home / "nodes" / check_name(name, "node")
    # Who listens for others is asked by the local node through the home: no certificate, no address.
    private = settings.home / "control.sock" if tls is not None or listening.host not in LOOPBACK else None
    node = NodeSettings(
        routes=state / "followed.json",
        home=settings.home,
        name=name,
        host=listening.host,
        port=node_port,
        grpc_port=grpc_port,
        tls=tls,
        require_key=require_key,
        processes=processes or usable_cores(),
        following=Following(
            control=f"unix://{private}" if private is not None else address_of(listening.host, port, tls=False),
            key_file=state / "control.key",
        ),
        log_file=settings.home / "logs" / "node.log",
        allow_pickle=allow_pickle,
    )
    whole = UpSettings(
        home=settings.home,
        database_url=settings.database_url,
        artifacts_url=settings.artifacts_url,
        host=listening.host,
        port=port,
        tls=tls,
        node_socket=private,
        node=None if no_node else node,
        issuer=_read_issuer(issuer) if issuer is not None else None,
        log_address=os.environ.get("PENSTOCK_LOG", ""),
        allow_pickle=allow_pickle,
    )
    sys.exit(run_up(whole, tell))


def _read_issuer(path: Path) -> IssuerSettings:
    from penstock.security.tokens import IssuerSettings
    from penstock.storage.yaml_text import read_yaml

    try:
        return msgspec.convert(read_yaml(path.read_text(), str(path)), IssuerSettings)
    except (OSError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput("invalid-issuer", f"{path}: {error}") from None
