"""`penstock backup` and `restore`: everything in one file, and the way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.answers import answer, counted
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place
from penstock.cli.settings import ensure_home
from penstock.core.errors import Unsupported

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup: one file.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(backup))
    app.command()(spread(restore))


def backup(file: File, *, place: Place, as_json: Json = False) -> None:
    """Write database and artifacts, as they are at one moment, to one file; control may be running.

    Example: penstock backup /backups/penstock-2026-04-01.zip
    """
    settings = place.settings(os.environ)
    ensure_home(settings)
    try:
        from penstock.control.control import Control
        from penstock.security.identity import Identity
        from penstock.storage.locate import open_blobs
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    with Control.open(settings.database_url, open_blobs(settings.artifacts_url), settings.home) as control:
        made = control.backup(file, identity=Identity(subject=settings.actor, role="admin"))
    rows = sum(part.rows for part in made.tables.values())
    text = f"{file}: {counted(rows, 'row')}, {counted(len(made.artifacts), 'artifact')}, audit head {made.audit_head}"
    answer(made, [text], as_json=as_json)


def restore(file: File, *, place: Place, as_json: Json = False) -> None:
    """Fill an empty home from a backup, of either database into either; every digest is checked.

    Example: penstock restore /backups/penstock-2026-04-01.zip --home /srv/penstock
    """
    settings = place.settings(os.environ)
    ensure_home(settings)
    try:
        from penstock.control.restore import restore as fill
        from penstock.storage.locate import open_blobs
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    made = fill(file, settings.database_url, open_blobs(settings.artifacts_url))
    text = f"restored the state of {made.created_at}: {counted(len(made.artifacts), 'artifact')}"
    answer(made, [text], as_json=as_json)


def _missing(error: ModuleNotFoundError) -> Unsupported:
    return Unsupported("missing-extra", f"control needs {error.name}", hint="pip install 'penstock[control]'")
