"""What a command prints: lines for people, or one line of JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import typer


def answer(value: Any, lines: Iterable[str] = (), *, as_json: bool) -> None:
    """Print `value` as one line of JSON, or else the lines."""
    for line in [json_text(value)] if as_json else lines:
        typer.echo(line)


def tell(text: str) -> None:
    """Say something about the work itself, beside the answer: on stderr."""
    typer.echo(text, err=True)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "version"), counted(0, "version")
        ('1 version', '0 versions')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def json_text(value: Any) -> str:
    """Any plain value in one line of JSON."""
    return msgspec.json.encode(value).decode()
