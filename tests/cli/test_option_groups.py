"""Options that several commands share: what typer sees, and what the command is given."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.option_groups import OptionGroup, spread


class Place(OptionGroup, frozen=True):
    host: Annotated[str, typer.Option(help="Where it is.")] = "here"
    port: Annotated[int, typer.Option(min=1)] = 80


def test_a_group_arrives_as_one_value():
    given = []

    def go(name: str, *, place: Place, loud: bool = False) -> None:
        """Go there."""
        given.append((name, place, loud))

    app = typer.Typer()
    app.command()(spread(go))
    assert CliRunner().invoke(app, ["ana", "--port", "7", "--loud"]).exit_code == 0
    assert CliRunner().invoke(app, ["bo"]).exit_code == 0
    assert given == [("ana", Place(port=7), True), ("bo", Place(), False)]
    assert CliRunner().invoke(app, ["bo", "--port", "0"]).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Go there." in shown
    assert "Where it is." in shown


def test_two_options_of_one_name_are_refused_when_the_command_is_defined():
    def go(host: str, *, place: Place) -> None:
        """Never run."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'host'"):
        spread(go)
