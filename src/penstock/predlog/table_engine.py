"""DuckDB, as the log uses it: in memory, within limits, its spilled data in a folder that is given (extra `[log]`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.errors import InvalidInput, Unavailable, Unsupported

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NO_ROOM = ("No space left", "File too large", "quota exceeded")


def open_engine(scratch: Path, *, memory_mb: int = 512, threads: int = 2) -> DuckDBPyConnection:
    """A DuckDB of its own, which spills into `scratch`; raises Unsupported (`missing-extra`) where it is not installed.

    It neither looks at Python's variables nor for extensions: a table that is not there must be an error.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", "the log's table needs duckdb", hint="pip install 'penstock[log]'"
        ) from error
    return duckdb.connect(
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "temp_directory": str(scratch),
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # An object column's type is found by looking at all of it: of a sample that holds only nulls it would be
            # a number, and the first text after it a failure.
            "pandas_analyze_sample": 2**40,
        }
    )


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn DuckDB's failures into Unavailable (`disk-full`, `log-memory`, `log-unavailable`) or InvalidInput."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise Unavailable(
            "log-memory", f"{what}: {_first_line(error)}", hint="ask for less at once, or allow more memory"
        ) from error
    except duckdb.IOException as error:
        if any(text in str(error) for text in _NO_ROOM):
            raise Unavailable("disk-full", f"no room left: {what}", hint="free some space; nothing was lost") from error
        raise Unavailable("log-unavailable", f"{what}: {_first_line(error)}") from error
    except duckdb.Error as error:
        raise InvalidInput("invalid-query", f"{what}: {_first_line(error)}") from error


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever it holds.

    Example:
        >>> quoted('a"b')
        '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it.

    Example:
        >>> literal("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:500]
