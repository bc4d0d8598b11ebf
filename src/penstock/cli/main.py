"""The `penstock` command: puts the commands together and turns failures into one line and an exit status.

Exit status: 0 ok, 1 failed or refused, 2 usage, 3 inconclusive, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from penstock.cli import (
    apply,
    backup,
    bundles,
    check,
    conformance,
    doctor,
    experiment,
    keys,
    log,
    logs,
    registry,
    replay,
    rollout,
    serve,
    status,
    up,
)
from penstock.core.errors import PenstockError
from penstock.core.version import __version__

# What typer makes of a KeyboardInterrupt: 128 and the number of the signal, as shells have it.
_INTERRUPTED = 130


def build_app() -> typer.Typer:
    """The whole command line; each module adds its own commands."""
    app = typer.Typer(
        name="penstock",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(program)
    for part in (
        bundles,
        check,
        registry,
        serve,
        log,
        replay,
        up,
        logs,
        doctor,
        apply,
        status,
        keys,
        backup,
        rollout,
        experiment,
        conformance,
    ):
        part.add_commands(app)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


def program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Takes a trained model from a file to a fast, watched, reversible deployment."""


def main() -> None:
    """Run the command line of this process."""
    try:
        build_app()()
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            sys.stderr.write("penstock: interrupted\n")
        raise
    except BrokenPipeError:
        # The reader of our output has gone (`penstock list | head`): nothing is left to say.
        sys.stderr.close()
        sys.exit(1)
