"""Writes docs/reference/api.md from the application itself: `.venv/bin/python docs/reference/api.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.api.app import build_app

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Control's API

Written by `.venv/bin/python docs/reference/api.py` from the application; a test compares. `penstock up` serves it at
<http://127.0.0.1:8700>, and the same as OpenAPI at `/openapi.json`.

- **Who.** `Authorization: Bearer KEY`: a key (`pk_…`) or a token of the issuer that `--issuer` names. The first key is
  in `admin.key` in the home. Each caller may ask 200 times a second, 400 at once; beyond it is 429 with `Retry-After`.
- **Failures** are `application/problem+json` (RFC 9457) with a stable `code`, see [errors.md](errors.md):
  `{"type": "urn:penstock:unknown-model", "title": "not-found", "status": 404, "detail": "…", "code": "unknown-model"}`.
- **Lists** come in pages: `{"items": […], "next": …}`. Send `next` back as `cursor`; at the end it is null.
- **Repeats.** A POST with `Idempotency-Key` is answered a second time as it was the first time, for a day; the same key
  with another request is 409 `idempotency-key-reused`. Making keys has none: their text is told once.
- **Rivals.** `If-Match: "12"` or `expected_generation=12` refuses what was planned against an older generation (409
  `generation-moved`); for an alias `If-Match` is the version it must point at now.
- **Sizes.** A body is at most 4 MiB, a bundle 16 GiB, a file of gates 1 GiB; files are written to disk as they come.
- **Waiting.** `wait_s` waits on the server until there is something new: ask again at once.
"""


def page() -> str:
    """The whole page."""
    app = build_app(None)
    whole = app.openapi()
    doors = [_door(path, method, said) for path, methods in whole["paths"].items() for method, said in methods.items()]
    return HEAD + "".join(doors) + "\n## Types\n" + "".join(_types(whole["components"]["schemas"]))


def _door(path: str, method: str, said: dict[str, Any]) -> str:
    lines = [f"\n## {method.upper()} {path}\n", f"{said['description']}\n"]
    body = said.get("requestBody", {}).get("content", {})
    lines += [f"Takes `{media}`: {_name(content['schema'])}.\n" for media, content in body.items()]
    status, answer = next((code, one) for code, one in said["responses"].items() if code != "default")
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {"type": "null"})
    lines.append(f"Answers {status}: {_name(schema)}.\n")
    rows = [f"| `{one['name']}` | {one['in']} | {one.get('description', '')} |" for one in said.get("parameters", [])]
    if rows:
        lines += ["| parameter | in | |\n|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _types(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        if "properties" not in schema:
            continue
        said = " ".join(schema.get("description", "").split())
        yield f"\n### {name}\n\n{said}\n\n| field | type | |\n|---|---|---|\n"
        needed = schema.get("required", [])
        for field, about in schema["properties"].items():
            default = "required" if field in needed else f"`{about.get('default')!r}`".replace("None", "null")
            yield f"| `{field}` | {_name(about)} | {default} |\n"


def _name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_name(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_name(items)}" if isinstance(items, dict) else "list"
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        return f"object of {_name(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "any")


if __name__ == "__main__":
    PAGE.write_text(page())
