"""`penstock doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from penstock.cli.answers import answer
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place
from penstock.core.errors import Unsupported


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(doctor))


def doctor(
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="Control's port (default: the running one's).")
    ] = None,
    node_port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="The node's port (default: the running one's).")
    ] = None,
    name: Annotated[str, typer.Option(help="The local node's name.")] = "local",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Look at the home, disk, database, artifacts, ports, node, clock, keys and versions; exit 1 if one is wrong.

    Example: penstock doctor --json
    """
    try:
        from penstock.api.examine import Examined, examine
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"control needs {error.name}", hint="pip install 'penstock[control]'"
        ) from error
    settings = place.settings(os.environ)
    examined = Examined(
        home=settings.home,
        database_url=settings.database_url,
        artifacts_url=settings.artifacts_url,
        port=port,
        node_port=node_port,
        node=name,
    )
    findings = examine(examined)
    lines = [
        f"{'ok   ' if one.ok else 'WRONG'} {one.what}: {one.found}" + (f"; {one.do}" if one.do else "")
        for one in findings
    ]
    answer(findings, lines, as_json=as_json)
    if not all(one.ok for one in findings):
        raise typer.Exit(1)
