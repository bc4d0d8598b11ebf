"""Where two bundles differ, field by field of their manifests."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.bundle.manifest import Manifest


class Change(msgspec.Struct, frozen=True):
    """One place: its path in the manifest, and what each bundle has there (None: nothing)."""

    path: str
    a: Any
    b: Any


def diff_bundles(a: Manifest, b: Manifest) -> list[Change]:
    """Every difference, in the order of the paths; a file counts by its digest.

    Inputs and outputs are compared by name, their order apart, so that one new column is one difference.
    """
    one, two = _flat(msgspec.to_builtins(a)), _flat(msgspec.to_builtins(b))
    return [
        Change(path, one.get(path), two.get(path))
        for path in sorted(one.keys() | two.keys())
        if one.get(path) != two.get(path)
    ]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value and set(value) != {"sha256", "size"}:
        return {
            place: inner
            for key, element in value.items()
            for place, inner in _flat(element, f"{path}.{key}" if path else key).items()
        }
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(element, dict) and "name" in element for element in value)
    ):
        named = {f"{path}[{element['name']}]": element for element in value}
        order = {f"{path}.order": [element["name"] for element in value]}
        return order | {place: inner for key, element in named.items() for place, inner in _flat(element, key).items()}
    if isinstance(value, dict) and "sha256" in value:
        return {path: value["sha256"]}
    return {path: value}
