"""Writes what penstock.yaml may say, from its types: `.venv/bin/python docs/reference/penstock_yaml.py`.

Two files: penstock-yaml.md for people, ../formats/penstock.schema.json for editors.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from penstock.control.spec import Spec

PAGE = Path(__file__).with_name("penstock-yaml.md")
SCHEMA = Path(__file__).parents[1] / "formats" / "penstock.schema.json"
HEAD = """# penstock.yaml

Written by `.venv/bin/python docs/reference/penstock_yaml.py` from the types that read the file; a test compares. What
it is for is told in [control.md](../guide/control.md). An unknown field is an error that names the nearest known one.
It is YAML without tags, anchors and aliases, at most 1 MB; JSON is YAML, too.

For completion in an editor, put this on the first line:

```yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/penstock/penstock/main/docs/formats/penstock.schema.json
```
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_section(kind) for kind in kinds(Spec))


def schema() -> str:
    """The JSON Schema."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "penstock.yaml, version 1",
        **msgspec.json.schema(Spec),
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def kinds(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The type and all that its fields are made of, in the order in which they are met."""
    found: dict[type[msgspec.Struct], None] = {}
    waiting: list[Any] = [kind]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            if one not in found:
                found[one] = None
                waiting += [field.type for field in msgspec.structs.fields(one)]
        else:
            waiting += get_args(one)
    return list(found)


def _section(kind: type[msgspec.Struct]) -> str:
    title = "The file" if kind is Spec else title_of(kind)
    rows = [
        f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |" for field in msgspec.structs.fields(kind)
    ]
    table = ["| field | value | default |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"\n## {title}\n", inspect.cleandoc(_doc(kind)), "", *table])


def _doc(kind: type[msgspec.Struct]) -> str:
    # An example for programmers is nothing for this page.
    return (kind.__doc__ or "").partition("Example:")[0].strip()


def title_of(kind: type[msgspec.Struct]) -> str:
    """What a type is called on the page."""
    return kind.__name__.removesuffix("Spec")


def _type(kind: Any) -> str:
    return " or ".join(dict.fromkeys(_parts(kind)))


def _parts(kind: Any) -> Iterator[str]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for one in arguments:
            yield from _parts(one)
    elif origin is Annotated:
        bounds = [
            f"{name} {getattr(arguments[1], short)}"
            for short, name in _BOUNDS
            if getattr(arguments[1], short) is not None
        ]
        yield ", ".join([_type(arguments[0]), *bounds])
    elif origin is Literal:
        yield from (f"`{one}`" for one in arguments)
    elif origin is dict:
        yield f"name to {_type(arguments[1])}"
    elif origin is tuple:
        yield f"list of {_type(arguments[0])}"
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield f"[{title_of(kind)}](#{title_of(kind).lower()})"
    else:
        yield _PLAIN[kind]


_PLAIN = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", NoneType: "nothing"}
_BOUNDS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"), ("min_length", "length at least"))


def _default(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value in ("", (), {}) or value is None or isinstance(value, msgspec.Struct):
        return ""
    return f"`{msgspec.json.encode(value).decode()}`".replace('"', "")


if __name__ == "__main__":
    PAGE.write_text(page())
    SCHEMA.write_text(schema())
