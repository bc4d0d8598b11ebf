"""`penstock logs`: what control and the local node wrote, in the order of time."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from penstock.cli.option_groups import spread
from penstock.cli.options import Home, Json, Place

Part = Literal["control", "node"]
_PARTS: tuple[Part, ...] = ("control", "node")
_LOOK_S = 0.2


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(logs))


def logs(
    part: Annotated[Part | None, typer.Argument(metavar="[control|node]", help="Only this one's.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="The last N lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    requests: Annotated[bool, typer.Option("--requests", help="Show answered requests, too.")] = False,
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show the logs of `penstock up`, oldest first.

    Example: penstock logs node --lines 50 --follow
    """
    folder = Place(home=home).settings(os.environ).home / "logs"
    parts = [part] if part is not None else list(_PARTS)
    # Where each file ends now is read before its lines: what is written meanwhile is shown once, by following.
    ends = {one: _size(folder / f"{one}.log") for one in parts}
    merged = heapq.merge(*(_lines(folder, one, ends[one]) for one in parts), key=lambda line: str(line.get("time")))
    shown = [line for line in merged if requests or line.get("event") != "request"]
    for line in shown[len(shown) - min(lines, len(shown)) :]:
        typer.echo(_said(line, as_json))
    while follow:
        time.sleep(_LOOK_S)
        for one in parts:
            for line in _fresh(folder / f"{one}.log", one, ends):
                if requests or line.get("event") != "request":
                    typer.echo(_said(line, as_json))


def _lines(folder: Path, part: Part, end: int) -> Iterator[dict[str, Any]]:
    """Every line of a part's files, the oldest file first."""
    older = sorted(folder.glob(f"{part}.log.[0-9]*"), key=lambda path: -int(path.suffix[1:]))
    for path in older:
        with path.open("rb") as file:
            yield from (_read(line, part) for line in file)
    if end:
        with (folder / f"{part}.log").open("rb") as file:
            yield from (_read(line, part) for line in file.read(end).splitlines())


def _fresh(path: Path, part: Part, ends: dict[Part, int]) -> Iterator[dict[str, Any]]:
    size = _size(path)
    # It was rotated: what is there now is all new.
    start = ends[part] if size >= ends[part] else 0
    if size == start:
        return
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(size - start)
    whole = data[: data.rfind(b"\n") + 1]
    ends[part] = start + len(whole)
    yield from (_read(line, part) for line in whole.splitlines())


def _read(line: bytes, part: Part) -> dict[str, Any]:
    """A line as fields; what a library wrote as plain text is its `text`."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"time": "", "from": part, "event": "text", "text": line.decode(errors="replace").rstrip()}
    return {"time": fields.pop("time", ""), "from": part, **fields}


def _said(line: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(line).decode()
    first = [str(line.pop(name, "")) for name in ("time", "from", "event")]
    return " ".join([first[0], f"{first[1]:<7}", first[2], *(f"{name}={value}" for name, value in line.items())])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
