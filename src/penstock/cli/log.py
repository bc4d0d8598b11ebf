"""`penstock log`: questions to the prediction log, and the outcomes that belong to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.answers import answer, counted, json_text, tell
from penstock.cli.log_options import AsOf, Chosen, LogPlace, Timeout
from penstock.cli.option_groups import spread
from penstock.cli.options import Json
from penstock.core.errors import Unavailable

_POLL_S = 0.2


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    log = typer.Typer(help="The prediction log: every answered call, and what became of it.", no_args_is_help=True)
    for command in (query, tail, export, compact, outcomes):
        log.command()(spread(command))
    app.add_typer(log, name="log")


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over predictions, outcomes and joined.")],
    as_of: AsOf = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Show at most so many rows.")] = 1000,
    timeout: Timeout = 60,
    *,
    chosen: Chosen,
    place: LogPlace,
    as_json: Json = False,
) -> None:
    """Ask the log a question in SQL (DuckDB's); it can read nothing else, and change nothing.

    Example: penstock log query 'SELECT version, count(*) FROM predictions GROUP BY version'
    """
    from penstock.predlog.query import query as ask

    found = ask(place.places(), sql, chosen.selection(as_of), limit=limit, timeout_s=timeout)
    _warn(found.warnings)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows] if as_json else []
    answer(rows, _table(found.columns, found.rows), as_json=as_json)
    if found.truncated:
        tell(f"there are more than {counted(limit, 'row')}; --limit shows more")


def tail(
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", min=0, help="The last so many rows.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records as they come.")] = False,
    *,
    chosen: Chosen,
    place: LogPlace,
    as_json: Json = False,
) -> None:
    """Show the last records, one line each.

    Example: penstock log tail --endpoint churn --follow
    """
    from penstock.predlog.table_tail import Tail, last_rows

    places, selection = place.places(), chosen.selection()
    # Begun first: what is written while the last rows are looked up must not be missed.
    following = Tail(places.segments, selection.endpoint) if follow else None
    last = last_rows(places, selection, number)
    for row in last:
        _show(row, as_json)
    shown = {(row["request_id"], row["row"], row["time"]) for row in last}
    while following is not None:
        for row in following.new():
            if (row["request_id"], row["row"], row["time"]) not in shown:
                _show(row, as_json)
        time.sleep(_POLL_S)


def export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A .parquet, .csv or .jsonl file.")],
    view: Annotated[str, typer.Option(metavar="predictions|outcomes|joined", help="What to write.")] = "joined",
    as_of: AsOf = "",
    *,
    chosen: Chosen,
    place: LogPlace,
    as_json: Json = False,
) -> None:
    """Write a part of the log into one file.

    Example: penstock log export churn.parquet --endpoint churn --since 7d
    """
    from penstock.predlog.query import export as write

    rows = write(place.places(), view, out, chosen.selection(as_of))
    answer({"file": str(out), "rows": rows}, [f"{counted(rows, 'row')} in {out}"], as_json=as_json)


def compact(*, place: LogPlace, as_json: Json = False) -> None:
    """Move closed segments and outcomes into the table; nothing is lost when it is stopped, and nothing is there twice.

    Example: penstock log compact --log s3://company/penstock-log
    """
    from penstock.predlog.compact import compact_all

    done = compact_all(place.places())
    moved = f"{counted(done.rows, 'row')} of {counted(done.segments, 'segment')}"
    lines = [f"{moved}, {counted(done.batches, 'file')} of outcomes"]
    answer(done, lines, as_json=as_json)
    _warn(done.problems)
    if done.damaged:
        tell(f"{counted(done.damaged, 'damaged part')} could not be read; the files are kept beside the log")
    if done.waiting:
        raise Unavailable("log-waiting", f"{counted(done.waiting, 'file')} stay here", hint="run it again later")


def outcomes(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A .csv, .parquet or .jsonl file of outcomes.")
    ] = None,
    request_id: Annotated[str, typer.Option(metavar="ID", help="The request that the one outcome belongs to.")] = "",
    value: Annotated[str, typer.Option(help="The one outcome: a number, true, false or text.")] = "",
    row: Annotated[int, typer.Option(metavar="N", min=0, help="The row of that request.")] = 0,
    name: Annotated[str, typer.Option(help="What it is (default: label); for a file, of rows without a name.")] = "",
    *,
    place: LogPlace,
    as_json: Json = False,
) -> None:
    """Tell what became of predictions: a file of outcomes, or one. A later one for the same row and name wins.

    Example: penstock log outcomes labels.csv
    """
    from penstock.predlog.outcomes import outcome_from, read_value
    from penstock.predlog.query import unknown_outcomes

    if (file is None) == (not request_id) or (request_id and not value):
        raise typer.BadParameter("give a FILE, or --request-id and --value")
    places = place.places()
    if file is not None:
        taken = places.outcomes.add_file(file, places.table, name)
    else:
        fields = {"request_id": request_id, "value": read_value(value), "row": row, "name": name or "label"}
        taken = places.outcomes.append([outcome_from(fields)])
    strangers = unknown_outcomes(places, taken.received_us)
    lines = [f"{counted(taken.outcomes, 'outcome')} taken"]
    if taken.again:
        lines = ["this file was taken before; nothing was added"]
    elif strangers:
        lines.append(f"{strangers} of them for requests that are not in the log (yet)")
    answer({"outcomes": taken.outcomes, "again": taken.again, "unknown": strangers}, lines, as_json=as_json)


def _show(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json_text(row))
        return
    when = row["time"].isoformat(sep=" ", timespec="milliseconds")
    shown = [name for name in row if name.startswith(("input.", "output."))]
    fields = " ".join(f"{name.partition('.')[2]}={_text(row[name])}" for name in shown)
    head = f"{when} {row['endpoint']} {row['version']} {row['status']} {row['latency_us'] / 1e3:.2f} ms"
    typer.echo(f"{head} {row['request_id']}[{row['row']}] {row['code'] or fields}".rstrip())


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    texts = [list(columns), *([_text(value) for value in row] for row in rows)]
    widths = [min(40, max(len(line[at]) for line in texts)) for at in range(len(columns))]
    for line in texts:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def _text(value: Any) -> str:
    """A value in one line: what a client sent must not move the cursor of who reads it."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else ascii(text)[1:-1]


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        tell(f"penstock: {warning}")
