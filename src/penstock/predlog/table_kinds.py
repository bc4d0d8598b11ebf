"""One SQL type for a column that has several: endpoints and versions use one name for different things."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from penstock.core.digest import canonical_json, digest_of
from penstock.predlog.table_engine import quoted

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_REAL = frozenset({"FLOAT", "DOUBLE"})

Schema = tuple[tuple[str, str], ...]
"""Names and SQL types of columns, in their order."""


def schema_mark(schema: Schema) -> str:
    """What the names of files of one schema share.

    Example:
        >>> schema_mark((("request_id", "VARCHAR"), ("row", "INTEGER")))
        '211e4205'
    """
    return digest_of(canonical_json(schema)).partition(":")[2][:8]


def common_kind(kinds: Collection[str]) -> str:
    """The type that holds the values of all of these; text where nothing else does.

    It is ours and not the engine's, which would make BIGINT and FLOAT a FLOAT, that changes the numbers, and refuses
    to read a list and a number from one column.

    Example:
        >>> common_kind({"INTEGER", "UINTEGER"}), common_kind({"BIGINT", "FLOAT"}), common_kind({"FLOAT[]", "DOUBLE[]"})
        ('BIGINT', 'DOUBLE', 'DOUBLE[]')
        >>> common_kind({"FLOAT", "FLOAT[]"}), common_kind({"BOOLEAN", "BIGINT"}), common_kind({"UBIGINT", "TINYINT"})
        ('VARCHAR', 'VARCHAR', 'HUGEINT')
    """
    distinct = set(kinds)
    if len(distinct) == 1:
        return distinct.pop()
    if all(kind.endswith("[]") for kind in distinct):
        return common_kind({kind[:-2] for kind in distinct}) + "[]"
    if distinct <= _WHOLE:
        return "HUGEINT" if "UBIGINT" in distinct else "BIGINT"
    return "DOUBLE" if distinct <= _WHOLE | _REAL else "VARCHAR"


def common_kinds(schemas: Iterable[Schema]) -> dict[str, str]:
    """The type of every column over all schemas. Names that differ only by case are one column, as in SQL."""
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for name, kind in schema:
            kinds.setdefault(name.lower(), set()).add(kind)
    return {name: common_kind(found) for name, found in kinds.items()}


def cast_columns(schema: Schema, kinds: Mapping[str, str]) -> str:
    """The columns of files of one schema, each of the type that it has over all."""
    wanted = [(quoted(name), kind, kinds[name.lower()]) for name, kind in schema]
    return ", ".join(name if kind == common else f"CAST({name} AS {common}) AS {name}" for name, kind, common in wanted)
