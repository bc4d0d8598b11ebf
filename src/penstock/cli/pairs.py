"""`NAME=VALUE` as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer

from penstock.core.errors import InvalidInput


def read_pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """`KEY=VALUE`s; raises typer.BadParameter where there is no key, or one comes twice.

    Example:
        >>> read_pairs(["data=w=14", "team="], "--tag")
        {'data': 'w=14', 'team': ''}
    """
    found: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key or key in found:
            raise typer.BadParameter(f"{option} {text!r} is not KEY=VALUE, or its key is given twice")
        found[key] = value
    return found


def read_metrics(texts: list[str] | None, option: str) -> dict[str, float]:
    """`KEY=NUMBER`s; raises typer.BadParameter."""
    try:
        return {key: float(value) for key, value in read_pairs(texts, option).items()}
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def read_types(texts: list[str] | None, option: str) -> dict[str, str]:
    """`COLUMN=TYPE`s; the last `=` counts, because a column may have any name.

    Example:
        >>> read_types(["a=b=FP32"], "--dtype")
        {'a=b': 'FP32'}
    """
    found = {}
    for text in texts or []:
        column, equals, kind = text.rpartition("=")
        if not equals or not column:
            raise InvalidInput("invalid-choice", f"{option} {text!r} is not COLUMN=TYPE")
        found[column] = kind
    return found


def read_values(texts: list[str] | None, option: str) -> dict[str, Any]:
    """`KEY=VALUE`s, a value as JSON where it is JSON; or the name of a file that holds a JSON object.

    Example:
        >>> read_values(["depth=3", "note=by hand", "rule=a=b"], "--parameters")
        {'depth': 3, 'note': 'by hand', 'rule': 'a=b'}
    """
    found: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            found |= _object_in(text, option)
        elif not key:
            raise InvalidInput("invalid-choice", f"{option} {text!r} is not KEY=VALUE")
        else:
            try:
                found[key] = msgspec.json.decode(value)
            except msgspec.DecodeError:
                found[key] = value
    return found


def read_numbers(values: dict[str, Any], option: str) -> dict[str, float]:
    """The values as numbers; raises InvalidInput (`invalid-choice`)."""
    try:
        return msgspec.convert(values, dict[str, float])
    except msgspec.ValidationError as error:
        raise InvalidInput("invalid-choice", f"{option} must be numbers: {error}") from None


def _object_in(path: str, option: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidInput("invalid-choice", f"{option} {path} is no file with a JSON object: {error}") from None
