"""`penstock replay`: what another version would have answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.answers import answer, counted, json_text, tell
from penstock.cli.log_options import Chosen, LogPlace
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place
from penstock.cli.registry import find_bundle

if TYPE_CHECKING:
    from penstock.predlog.replay import Replay


def add_commands(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(spread(replay))


def replay(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundle (folder or .penstock file), or NAME@ALIAS or NAME/7.")
    ],
    sample: Annotated[int, typer.Option(metavar="N", min=1, help="Replay at most so many rows.")] = 10_000,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Open a pickle that has a waiver, in this process.")
    ] = False,
    *,
    chosen: Chosen,
    place: LogPlace,
    as_json: Json = False,
) -> None:
    """Answer recorded calls of an endpoint again, by any version, and show what it answers differently.

    Example: penstock replay churn/8 --endpoint churn --since 7d
    """
    from penstock.predlog.replay import replay as run_again
    from penstock.runtime.load import load_model

    settings = Place(home=place.home).settings(os.environ)
    bundle = find_bundle(model, settings.home / "bundles", settings)
    loaded = load_model(bundle, allow_pickle=allow_pickle)
    try:
        found = run_again(
            place.places(),
            chosen.endpoint or bundle.manifest.name,
            bundle.manifest.signature,
            lambda inputs: loaded.run(inputs),
            chosen.selection(),
            sample=sample,
            batch_rows=64 if bundle.manifest.batching.allowed else 1,
        )
    finally:
        loaded.close()
    for warning in found.warnings:
        tell(f"penstock: {warning}")
    answer(found, _lines(found), as_json=as_json)


def _lines(found: Replay) -> Iterator[str]:
    share = f" ({found.changed / found.rows:.2%})" if found.rows else ""
    yield f"{counted(found.rows, 'row')} answered again, {found.changed} changed{share}"
    yield f"scores moved by at most {found.largest_shift:.6g}, by {found.mean_shift:.6g} on average"
    for reason, count in sorted(found.skipped.items()):
        yield f"{counted(count, 'row')} skipped: {reason}"
    for flip in found.flips:
        change = f"{json_text(flip.recorded)} -> {json_text(flip.got)}"
        yield f"  {flip.request_id}[{flip.row}] {flip.output}: {change}" + (
            f", moved {flip.shift:.6g}" if flip.shift else ""
        )
