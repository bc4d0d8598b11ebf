"""`penstock status`: what is served where, who is behind, what waits for somebody."""

from __future__ import annotations

from contextlib import closing

import typer

from penstock.cli.answers import answer
from penstock.cli.control_lines import status_lines
from penstock.cli.desk import Server, open_desk
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place


def add_commands(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(spread(status))


def status(*, place: Place, server: Server, as_json: Json = False) -> None:
    """Show endpoints, nodes, what goes on and what waits for somebody."""
    with closing(open_desk(place, server)) as desk:
        found = desk.status()
    answer(found, status_lines(found), as_json=as_json)
