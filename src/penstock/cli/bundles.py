"""`penstock pack`, `inspect`, `verify` and `diff`.

Everything heavy is imported inside the commands: `penstock serve` shares this command line and must start fast.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.answers import answer, json_text, tell
from penstock.cli.options import BundlePath, Json
from penstock.cli.pairs import read_numbers, read_types, read_values
from penstock.core.errors import Refused

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle
    from penstock.bundle.manifest import Manifest
    from penstock.pack import Packed

_Options = list[str]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file to the program."""
    app.command("pack")(pack_command)
    app.command("inspect")(inspect_command)
    app.command("verify")(verify_command)
    app.command("diff")(diff_command)


def pack_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model file, file.py:ClassName, graph.yaml, or an MLflow model's folder or URI."
        ),
    ],
    name: Annotated[str, typer.Option(help="The model's name.")],
    sample: Annotated[str, typer.Option(help="Rows like those to be answered: CSV, Parquet or NPZ.")] = "",
    target: Annotated[str, typer.Option(help="The column that is the label, and no input.")] = "",
    dtype: Annotated[_Options | None, typer.Option(metavar="COL=TYPE", help="Read a column as this type.")] = None,
    sensitive: Annotated[_Options | None, typer.Option(metavar="COL", help="Store no value of this column.")] = None,
    allow_pickle: Annotated[str, typer.Option(metavar="REASON", help="Why a pickle may be opened once.")] = "",
    out: Annotated[Path | None, typer.Option(help="Default: NAME.penstock; a folder if it ends otherwise.")] = None,
    flavor: Annotated[str, typer.Option(help="Of an MLflow model, for example python_function.")] = "",
    assets: Annotated[str, typer.Option(metavar="FOLDER", help="Files that a Python class loads.")] = "",
    vendor: Annotated[bool, typer.Option(help="Put the wheels of the environment into the bundle.")] = False,
    convert: Annotated[bool, typer.Option(help="Serve an equal ONNX form; --no-convert serves the original.")] = True,
    licence: Annotated[str, typer.Option(help="The model's licence, for example Apache-2.0.")] = "",
    metrics: Annotated[_Options | None, typer.Option(metavar="FILE|KEY=NUMBER", help="Training metrics.")] = None,
    parameters: Annotated[_Options | None, typer.Option(metavar="FILE|KEY=VALUE", help="Training parameters.")] = None,
    as_json: Json = False,
) -> None:
    """Freeze a trained model into a bundle: compiled, proven equal, with everything it needs."""
    from penstock.pack import pack_file

    try:
        packed = pack_file(
            model,
            sample or None,
            name=name,
            out=out,
            progress=None if as_json else lambda step: tell(f"  {step} …"),
            target=target,
            dtypes=read_types(dtype, "--dtype"),
            sensitive=tuple(sensitive or ()),
            allow_pickle=allow_pickle,
            flavor=flavor,
            assets=assets,
            vendor=vendor,
            convert=convert,
            licence=licence,
            metrics=read_numbers(read_values(metrics, "--metrics"), "--metrics"),
            parameters=read_values(parameters, "--parameters"),
        )
    except Refused as error:
        if error.code != "pickle-refused":
            raise
        line = shlex.join(["penstock", *sys.argv[1:], "--allow-pickle", "we trained this file ourselves"])
        raise Refused(
            error.code, error.message, hint=f"if you trust where it comes from, say why:\n  {line}\n"
        ) from None
    if not as_json:
        _show_packed(packed)
        return
    facts = _facts(packed.digest, packed.manifest)
    answer({"path": str(packed.path), **facts, "timings": packed.timings}, as_json=True)


def inspect_command(bundle: BundlePath, as_json: Json = False) -> None:
    """Show what a bundle says about itself."""
    from penstock.bundle.inspect import describe

    with tempfile.TemporaryDirectory() as cache:
        opened = _open(bundle, cache)
        lines = (f"{label:<14}{text}" for label, text in describe(opened))
        answer(_facts(opened.digest, opened.manifest), lines, as_json=as_json)


def verify_command(bundle: BundlePath, as_json: Json = False) -> None:
    """Check every file of a bundle against its digest."""
    with tempfile.TemporaryDirectory() as cache:
        opened = _open(bundle, cache)
        files = len(opened.manifest.files)
        lines = [f"{bundle}: {files} files are what was packed", opened.digest]
        answer({"digest": opened.digest, "files": files, "ok": True}, lines, as_json=as_json)


def diff_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bundle.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The bundle to hold against it.")],
    as_json: Json = False,
) -> None:
    """Show where two bundles differ; exit 1 if they do."""
    from penstock.bundle.diff import diff_bundles

    with tempfile.TemporaryDirectory() as cache:
        one, two = _open(a, cache), _open(b, cache)
        changes = diff_bundles(one.manifest, two.manifest)
        lines = [f"{change.path}: {json_text(change.a)} -> {json_text(change.b)}" for change in changes]
        answer(
            {"a": one.digest, "b": two.digest, "changes": changes},
            lines or [f"the same bundle, {one.digest}"],
            as_json=as_json,
        )
    if changes:
        raise typer.Exit(1)


def _open(path: Path, cache: str) -> Bundle:
    from penstock.bundle.bundle import open_bundle

    return open_bundle(path, Path(cache))


def _facts(digest: str, manifest: Manifest) -> dict[str, Any]:
    return {"digest": digest, "manifest": msgspec.Raw(manifest.to_json())}


def _show_packed(packed: Packed) -> None:
    from rich.console import Console

    from penstock.cli.packed_table import packed_table

    Console().print(packed_table(packed))
    typer.echo(f"{packed.path}  {packed.digest}")
