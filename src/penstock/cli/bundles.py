"""`penstock pack`, `inspect`, `verify` and `diff`.

Everything heavy is imported inside the commands: `penstock serve` shares this command line and must start fast.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.core.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle
    from penstock.pack import Packed

_Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_Options = list[str]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file to the program."""
    app.command("pack")(pack_command)
    app.command("inspect")(inspect_command)
    app.command("verify")(verify_command)
    app.command("diff")(diff_command)


def pack_command(
    model: Annotated[str, typer.Argument(help="A model file, or file.py:ClassName.")],
    name: Annotated[str, typer.Option(help="The model's name.")],
    sample: Annotated[str, typer.Option(help="Rows like those to be answered: CSV, Parquet or NPZ.")] = "",
    target: Annotated[str, typer.Option(help="The column that is the label, and no input.")] = "",
    dtype: Annotated[_Options | None, typer.Option(metavar="COL=TYPE", help="Read a column as this type.")] = None,
    sensitive: Annotated[_Options | None, typer.Option(metavar="COL", help="Store no value of this column.")] = None,
    allow_pickle: Annotated[str, typer.Option(metavar="REASON", help="Why a pickle may be opened once.")] = "",
    out: Annotated[Path | None, typer.Option(help="Default: NAME.penstock; a folder if it ends otherwise.")] = None,
    assets: Annotated[str, typer.Option(metavar="FOLDER", help="Files that a Python class loads.")] = "",
    vendor: Annotated[bool, typer.Option(help="Put the wheels of the environment into the bundle.")] = False,
    convert: Annotated[bool, typer.Option(help="Serve an equal ONNX form; --no-convert serves the original.")] = True,
    licence: Annotated[str, typer.Option(help="The model's licence, for example Apache-2.0.")] = "",
    metrics: Annotated[_Options | None, typer.Option(metavar="FILE|KEY=NUMBER", help="Training metrics.")] = None,
    parameters: Annotated[_Options | None, typer.Option(metavar="FILE|KEY=VALUE", help="Parameters.")] = None,
    as_json: _Json = False,
) -> None:
    """Freeze a trained model into a bundle: compiled, proven equal, with everything it needs."""
    from penstock.pack import pack_file

    try:
        packed = pack_file(
            model,
            sample or None,
            name=name,
            out=out,
            progress=None if as_json else _tell,
            target=target,
            dtypes=dict(_pair(text, "--dtype") for text in dtype or []),
            sensitive=tuple(sensitive or ()),
            allow_pickle=allow_pickle,
            assets=assets,
            vendor=vendor,
            convert=convert,
            licence=licence,
            metrics=_numbers(_values(metrics, "--metrics")),
            parameters=_values(parameters, "--parameters"),
        )
    except Refused as error:
        if error.code != "pickle-refused":
            raise
        line = shlex.join(["penstock", *sys.argv[1:], "--allow-pickle", "we trained this file ourselves"])
        raise Refused(
            error.code, error.message, hint=f"if you trust where it comes from, say why:\n  {line}\n"
        ) from None
    if as_json:
        _print(
            {"path": str(packed.path), "digest": packed.digest, "timings": packed.timings, **_facts(packed.manifest)}
        )
    else:
        _show_packed(packed)


def inspect_command(bundle: Annotated[Path, typer.Argument()], as_json: _Json = False) -> None:
    """Show what a bundle says about itself."""
    from penstock.bundle.inspect import describe

    with tempfile.TemporaryDirectory() as cache:
        opened = _open(bundle, cache)
        if as_json:
            _print({"digest": opened.digest, **_facts(opened.manifest)})
        else:
            typer.echo("\n".join(f"{label:<14}{text}" for label, text in describe(opened)))


def verify_command(bundle: Annotated[Path, typer.Argument()], as_json: _Json = False) -> None:
    """Check every file of a bundle against its digest."""
    with tempfile.TemporaryDirectory() as cache:
        opened = _open(bundle, cache)
        files = len(opened.manifest.files)
        if as_json:
            _print({"digest": opened.digest, "files": files, "ok": True})
        else:
            typer.echo(f"{bundle}: {files} files are what was packed\n{opened.digest}")


def diff_command(
    a: Annotated[Path, typer.Argument()], b: Annotated[Path, typer.Argument()], as_json: _Json = False
) -> None:
    """Show where two bundles differ; exit 1 if they do."""
    from penstock.bundle.diff import diff_bundles

    with tempfile.TemporaryDirectory() as cache:
        one, two = _open(a, cache), _open(b, cache)
        changes = diff_bundles(one.manifest, two.manifest)
        if as_json:
            _print({"a": one.digest, "b": two.digest, "changes": changes})
        elif not changes:
            typer.echo(f"the same bundle, {one.digest}")
        for change in [] if as_json else changes:
            typer.echo(f"{change.path}: {json.dumps(change.a)} -> {json.dumps(change.b)}")
    if changes:
        raise typer.Exit(1)


def _open(path: Path, cache: str) -> Bundle:
    from penstock.bundle.bundle import open_bundle

    return open_bundle(path, Path(cache))


def _facts(manifest: Any) -> dict[str, Any]:
    return {"manifest": json.loads(manifest.to_json())}


def _print(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())


def _tell(text: str) -> None:
    typer.echo(f"  {text} …", err=True)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise InvalidInput("invalid-choice", f"{option} {text!r} is not NAME=VALUE")
    return name, value


def _values(texts: list[str] | None, option: str) -> dict[str, Any]:
    """`KEY=VALUE` pairs, or the name of a JSON file that holds an object."""
    found: dict[str, Any] = {}
    for text in texts or []:
        if "=" in text:
            name, value = _pair(text, option)
            try:
                found[name] = msgspec.json.decode(value)
            except msgspec.DecodeError:
                found[name] = value
            continue
        try:
            found |= msgspec.json.decode(Path(text).read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError) as error:
            raise InvalidInput("invalid-choice", f"{option} {text} is no file with a JSON object: {error}") from None
    return found


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    try:
        return msgspec.convert(values, dict[str, float])
    except msgspec.ValidationError as error:
        raise InvalidInput("invalid-choice", f"--metrics must be numbers: {error}") from None


def _show_packed(packed: Packed) -> None:
    from rich.console import Console

    from penstock.cli.packed_table import packed_table

    Console().print(packed_table(packed))
    typer.echo(f"{packed.path}  {packed.digest}")
