"""What a metric measures of one row of the table `calls`, as an SQL expression."""

from __future__ import annotations

from penstock.predlog.table_engine import quoted
from penstock.predlog.table_views import Views
from penstock.rollout.metrics import Metric

# Refused because of what the caller sent or withheld, or because there was too much to do: no fault of a version.
_NO_FAULTS = (413, 415, 429, 499, 503, 504)
_SATURATED = (429, 503, 504)
_FIRST_ROW = "CASE WHEN row = 0 THEN {} END"
_NUMBERS = frozenset({"FLOAT", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT",
                      "UINTEGER", "UBIGINT", "HUGEINT", "UHUGEINT", "BOOLEAN"})  # fmt: skip
SAME_WITHIN = 0.01
"""Two numbers agree that differ by less than this part of the larger one; lists where their largest element is."""


def output_of(views: Views, metric: Metric) -> str | None:
    """The column of the output that a metric means."""
    return _output(columns_of(views), metric)


def value_of(views: Views, metric: Metric) -> str | None:
    """The expression, of type DOUBLE, NULL where a row does not count; None where the log has nothing of the metric."""
    columns = columns_of(views)
    match metric.kind:
        case "errors":
            return _FIRST_ROW.format(f"(status >= 400 AND status NOT IN {_NO_FAULTS})::DOUBLE")
        case "saturation":
            return _FIRST_ROW.format(f"(status IN {_SATURATED})::DOUBLE")
        case "latency" | "cost":
            return _FIRST_ROW.format("CASE WHEN status < 400 THEN latency_us / 1000.0 END")
        case "shift":
            output = _output(columns, metric)
            return None if output is None else _number(output, columns[output])
        case "disagreement":
            output = _output(columns, metric)
            return None if output is None else _differs(output, columns[output])
        case "match":
            output, outcome = _output(columns, metric), f"outcome.{metric.outcome}"
            return None if output is None or outcome not in columns else _equal(output, outcome, columns)
    outcome = f"outcome.{metric.outcome}"
    told = [outcome, *([f"outcome.{metric.covariate}"] if metric.covariate else [])]
    if any(columns.get(name) not in _NUMBERS for name in told):
        return None
    return f"{quoted(outcome)}::DOUBLE"


def columns_of(views: Views) -> dict[str, str]:
    """The columns of the table `calls` with their SQL types."""
    return {str(row[0]): str(row[1]) for row in views.engine.execute("DESCRIBE calls").fetchall()}


def _output(columns: dict[str, str], metric: Metric) -> str | None:
    """The column of the output that is meant: the named one, else the first."""
    if metric.output:
        return f"output.{metric.output}" if f"output.{metric.output}" in columns else None
    return next((name for name in columns if name.startswith("output.")), None)


def _number(output: str, kind: str) -> str:
    """A number whose distribution shifts when the output's does: the last of several (a class's probability)."""
    one = f"{quoted(output)}[-1]" if kind.endswith("[]") else quoted(output)
    # Labels have no order of their own; any fixed one shows a shift, and this one is the same on every look.
    return f"{one}::DOUBLE" if kind.removesuffix("[]") in _NUMBERS else f"(hash({one}) % 1000003)::DOUBLE"


def _differs(output: str, kind: str) -> str:
    mine, theirs = quoted(output), f"other.{quoted(output)}"
    if kind.endswith("[]"):
        differs = (
            f"list_position({mine}, list_max({mine})) IS DISTINCT FROM list_position({theirs}, list_max({theirs}))"
        )
    elif kind in ("FLOAT", "DOUBLE"):
        differs = f"abs({mine} - {theirs}) > {SAME_WITHIN} * greatest(abs({mine}), abs({theirs}))"
    else:
        differs = f"{mine} IS DISTINCT FROM {theirs}"
    # An output that one of them does not have is no other answer.
    both = f"new AND status < 400 AND other.status < 400 AND {mine} IS NOT NULL AND {theirs} IS NOT NULL"
    return f"CASE WHEN {both} THEN ({differs})::DOUBLE END"


def _equal(output: str, outcome: str, columns: dict[str, str]) -> str | None:
    one, two = quoted(output), quoted(outcome)
    if columns[output].endswith("[]"):
        return None
    if columns[output] in _NUMBERS or columns[outcome] in _NUMBERS:
        # "1" is 1, whoever wrote it; a word is no number, and so is not equal to one.
        equal = f"coalesce(TRY_CAST({one} AS DOUBLE) = TRY_CAST({two} AS DOUBLE), false)"
    else:
        equal = f"{one}::VARCHAR = {two}::VARCHAR"
    return f"CASE WHEN {two} IS NOT NULL AND {one} IS NOT NULL THEN ({equal})::DOUBLE END"
