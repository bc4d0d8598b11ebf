"""The `penstock` command: puts the commands together and turns failures into one line and an exit status.

Exit status: 0 ok, 1 failed or refused, 2 usage, 3 inconclusive.
"""

from __future__ import annotations

import sys

import typer

from penstock.cli import bundles, registry, serve
from penstock.core.errors import PenstockError


def build_app() -> typer.Typer:
    """The whole command line; each module adds its own commands."""
    app = typer.Typer(
        name="penstock",
        help="Takes a trained model from a file to a fast, watched, reversible deployment.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for part in (bundles, registry, serve):
        part.add_commands(app)
    return app


def main() -> None:
    """Run the command line of this process."""
    try:
        build_app()()
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone (`penstock list | head`): nothing is left to say.
        sys.stderr.close()
        sys.exit(1)
