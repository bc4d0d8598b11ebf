"""Questions to the log in SQL. A question reads the views and nothing else, and changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from penstock.core.errors import DeadlineExceeded, InvalidInput, Refused
from penstock.predlog.table_engine import engine_errors, literal
from penstock.predlog.table_views import EVERYTHING, LogPlaces, Selection, Views, open_views

VIEWS = ("predictions", "outcomes", "joined")
_FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of an answer. `truncated` says that there are more; `warnings` what of the log could not be read."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool
    warnings: tuple[str, ...] = ()


def query(
    places: LogPlaces,
    sql: str,
    selection: Selection = EVERYTHING,
    *,
    limit: int = 1000,
    timeout_s: float = 60,
) -> Answer:
    """The first `limit` rows of one SELECT over `predictions`, `outcomes` and `joined`.

    Raises InvalidInput (`invalid-query`), Refused (`query-refused`) for anything but a SELECT or a look beside the
    views, DeadlineExceeded (`query-timeout`), Unavailable (`log-unavailable`, `log-memory`, `disk-full`).
    """
    with open_views(places, selection) as views:
        _lock(views)
        with _failures(sql), _interrupted_after(views, timeout_s):
            _check_statement(views, sql)
            found = views.engine.sql(sql)
            if found is None:
                raise InvalidInput("invalid-query", "the query gives no rows", hint="ask with SELECT")
            if any("TIME ZONE" in str(kind) for kind in found.types):
                # Python needs a library of time zones to take such a time; in UTC without its name it takes it alone.
                found = found.select(*_without_zones(found))
            rows = found.limit(limit + 1).fetchall()
            columns = tuple(found.columns)
    return Answer(columns=columns, rows=rows[:limit], truncated=len(rows) > limit, warnings=views.warnings)


def unknown_outcomes(places: LogPlaces, received_us: int) -> int:
    """How many of the outcomes received at that moment belong to rows that are not in the log, or not yet."""
    with open_views(places) as views, engine_errors("looking for the outcomes' requests"):
        told = "FROM outcomes WHERE received_at = make_timestamp(?)"
        asked = f"SELECT count(*) FROM ({told}) ANTI JOIN predictions USING (request_id, row)"  # noqa: S608
        ((count,),) = views.engine.execute(asked, [received_us]).fetchall()
    return int(count)


def export(places: LogPlaces, view: str, out: Path, selection: Selection = EVERYTHING) -> int:
    """Write a view to `out`, as Parquet, CSV or JSON lines by its suffix; whole, or not at all. Returns the rows.

    Raises InvalidInput (`invalid-choice`) for another suffix, Unavailable (`cannot-write`, `disk-full`).
    """
    form = _FORMATS.get(out.suffix.lower())
    if view not in VIEWS:
        raise InvalidInput("invalid-choice", f"there is no view {view!r}", hint=", ".join(VIEWS))
    if form is None:
        raise InvalidInput("invalid-choice", f"{out.name} is no kind of file we write", hint=", ".join(_FORMATS))
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with open_views(places, selection) as views, engine_errors(f"writing {out}"):
            order = "received_at, position" if view == "outcomes" else "time, request_id, row"
            asked = f"SELECT * FROM {view} ORDER BY {order}"  # noqa: S608 - a name of ours
            ((rows,),) = views.engine.execute(f"COPY ({asked}) TO {literal(str(partial))} ({form})").fetchall()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return int(rows)


def _lock(views: Views) -> None:
    """From here on the engine opens no file but those of the views, and nobody can allow it more."""
    allowed = ", ".join(literal(str(path)) for path in views.files)
    views.engine.execute(f"SET allowed_paths = [{allowed}]")
    views.engine.execute("SET enable_external_access = false")
    views.engine.execute("SET lock_configuration = true")


def _check_statement(views: Views, sql: str) -> None:
    import duckdb

    statements = views.engine.extract_statements(sql)
    if len(statements) != 1:
        raise InvalidInput("invalid-query", f"there are {len(statements)} statements, and one is taken")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = str(statements[0].type).rpartition(".")[2]
        raise Refused("query-refused", f"{kind} is not taken: the log is only read", hint="ask with SELECT")


def _without_zones(found: Any) -> list[Any]:
    import duckdb

    return [
        (duckdb.ColumnExpression(name).cast("TIMESTAMP") if "TIME ZONE" in str(kind) else duckdb.ColumnExpression(name))
        .alias(name)
        for name, kind in zip(found.columns, found.types, strict=True)
    ]  # fmt: skip


@contextmanager
def _failures(sql: str) -> Iterator[None]:
    import duckdb

    try:
        with engine_errors("the query cannot be answered"):
            try:
                yield
            except duckdb.InterruptException:
                raise DeadlineExceeded(
                    "query-timeout", "the query took longer than it may", hint="ask for less, or give it more time"
                ) from None
            except duckdb.PermissionException as error:
                raise Refused(
                    "query-refused",
                    f"the query looks beside the log: {str(error).splitlines()[0][:300]}",
                    hint="predictions, outcomes and joined are all there is",
                ) from None
    except RecursionError:
        raise InvalidInput("invalid-query", f"the query of {len(sql)} characters is nested too deep") from None


@contextmanager
def _interrupted_after(views: Views, timeout_s: float) -> Iterator[None]:
    timer = threading.Timer(timeout_s, views.engine.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
