"""CSV as RFC 4180 has it: fields in quotes, quotes doubled, one record per line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from penstock.core.errors import InvalidInput

_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n|\Z)')
_SPECIAL = re.compile(r'[",\r\n]')


def read_csv(text: str) -> list[list[str]]:
    r"""The fields of each record; raises InvalidInput for quotes that the RFC does not allow.

    A line that is empty is a record of one empty field; one at the end is none.

    Example:
        >>> read_csv('a,b\n"1,5","say ""hi"", then"\n')
        [['a', 'b'], ['1,5', 'say "hi", then']]
    """
    text = text.removeprefix("\ufeff")
    if '"' not in text:
        lines = text.replace("\r\n", "\n").split("\n")
        if any("\r" in line for line in lines):
            raise _invalid(next(number for number, line in enumerate(lines, 1) if "\r" in line))
        return [line.split(",") for line in (lines if lines[-1] else lines[:-1])]
    records: list[list[str]] = []
    record: list[str] = []
    at = 0
    while at < len(text) or record:
        found = _FIELD.match(text, at)
        if found is None:
            raise _invalid(text.count("\n", 0, at) + 1)
        quoted, bare, end = found.groups()
        record.append(bare if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if end != ",":
            records.append(record)
            record = []
    return records


def write_csv(records: Iterable[Sequence[str]]) -> str:
    r"""Records as lines, each ended by a line feed, as the tools that put batches together expect.

    Example:
        >>> write_csv([["a", "1,5"], ["", 'b"c']])
        'a,"1,5"\n,"b""c"\n'
    """
    return "".join(",".join(map(_quoted, record)) + "\n" for record in records)


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if _SPECIAL.search(field) else field


def _invalid(line: int) -> InvalidInput:
    return InvalidInput(
        "invalid-csv",
        f"line {line} is no CSV: a quote, or a carriage return, stands where none may",
        hint='put the field into quotes and write a quote inside it twice: "say ""hi"""',
    )
