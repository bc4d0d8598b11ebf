"""Writes docs/reference/cli.md from the commands themselves: `.venv/bin/python docs/reference/cli.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from penstock.cli.main import build_app

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Command line

Written by `.venv/bin/python docs/reference/cli.py` from the commands; a test compares. `penstock COMMAND --help` says
the same. `python -m penstock` is the same program; `penstock --version` says which.

Exit status: 0 ok; 1 failed or refused; 2 wrong usage; 3 inconclusive, which is neither; 130 interrupted. A failure is one
line on stderr that ends with its [code](errors.md). `--json` prints one line of JSON on stdout.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_command(name, command) for name, command in _commands(typer.main.get_command(build_app())))


def _commands(group: Any, prefix: str = "penstock") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([name, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    description, _, example = command.help.partition("\n\n")
    lines = [f"\n## {name}\n", " ".join(description.split()) + "\n", f"```\n{usage}\n```\n"]
    if example:
        lines.append(f"{example.strip().replace('Example: ', 'Example: `', 1)}`\n")
    rows = [(_argument(p), p.help or "", "") for p in arguments if p.help]
    rows += [(_option(p), p.help or "", _default(p)) for p in options if p.name != "help"]
    if rows:
        lines.append("| | | default |\n|---|---|---|")
        lines += [f"| `{what}` | {text} | {default} |" for what, text, default in rows]
        lines.append("")
    return "\n".join(lines)


def _argument(parameter: Any) -> str:
    shown = (parameter.metavar or parameter.name).strip("[]{}").removesuffix("]...").upper()
    shown += "..." if parameter.nargs == -1 else ""
    return shown if parameter.required else f"[{shown}]"


def _option(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    metavar = (parameter.metavar or parameter.type.name).replace("|", "\\|")
    return f"{names} {metavar}" + (" (repeatable)" if parameter.multiple else "")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.is_flag or parameter.default in (None, "", (), []):
        return ""
    return f"`{parameter.default}`"


if __name__ == "__main__":
    PAGE.write_text(page())
