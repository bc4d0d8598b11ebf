"""The help of every command is shown as it was written: what is in brackets is not taken for markup."""

import typer
from rich.text import Text

from penstock.cli.main import build_app


def texts(command, path="penstock"):
    """(where, text) of every help of a command and of those below it."""
    yield path, command.help
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None)
    for name, below in getattr(command, "commands", {}).items():
        yield from texts(below, f"{path} {name}")


def test_nothing_in_a_help_is_markup():
    found = [(where, text) for where, text in texts(typer.main.get_command(build_app())) if text]
    assert len(found) > 100
    assert [(where, text) for where, text in found if Text.from_markup(text).plain != text] == []
