"""A skops file whose bytes are a function of the estimator alone.

skops names arrays after `id()` and bytes after a random UUID, numbers nodes by `id()`, walks sets in the order of their
hashes, stamps archive members with the time, and writes whatever lay in the padding of structured arrays. Each of
these would give the same model another digest in every run.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from skops import io as skops_io

from penstock.core.digest import digest_of
from penstock.runtime.frameworks.trusted_types import TRUSTED

_SCHEMA = "schema.json"
# scikit-learn's text vectorisers remember the address of their stop words; another one makes them check the words.
_ADDRESS = "_stop_words_id"


def trusted_skops(estimator: Any) -> tuple[bytes, str]:
    """`estimator` as a skops file whose types are all on our list; else no bytes and the reason."""
    try:
        data = dump_skops(estimator)
        unknown = sorted(set(skops_io.get_untrusted_types(data=data)) - TRUSTED)
    except Exception as error:  # skops raises whatever the odd value inside raised while it was looked at
        return b"", f"skops cannot store it: {str(error)[:200]}"
    return (b"", f"it holds {', '.join(unknown[:5])}, which our list does not name") if unknown else (data, "")


def dump_skops(estimator: Any) -> bytes:
    """`estimator` as a skops file; raises what skops raises for a value it cannot store."""
    with zipfile.ZipFile(io.BytesIO(skops_io.dumps(estimator))) as archive:
        contents = {name: _canonical(name, archive.read(name)) for name in archive.namelist()}
    schema = json.loads(contents.pop(_SCHEMA))
    _sort_sets(schema, {name: digest_of(data) for name, data in contents.items()})
    ids: dict[int, int] = {}
    names: dict[str, str] = {}
    for node in _nodes(schema):
        if _ADDRESS in node:
            node[_ADDRESS]["content"] = "0"
        if "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if node.get("file") in contents:
            name = node["file"]
            node["file"] = names.setdefault(name, f"{len(names):06d}.{name.rpartition('.')[2]}")
    members = {new: contents[old] for old, new in names.items()}
    return _zip({**members, _SCHEMA: json.dumps(schema, indent=1).encode()})


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from _nodes(element)


def _sort_sets(schema: Any, digests: dict[str, str]) -> None:
    for node in reversed(list(_nodes(schema))):
        if node.get("__loader__") == "SetNode":
            node["content"].sort(key=lambda element: json.dumps(_nameless(element, digests), sort_keys=True))


def _nameless(value: Any, digests: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: digests.get(element, element) if key == "file" else _nameless(element, digests)
            for key, element in value.items()
            if key != "__id__"
        }
    return [_nameless(element, digests) for element in value] if isinstance(value, list) else value


def _canonical(name: str, data: bytes) -> bytes:
    if name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _zip({member: archive.read(member) for member in sorted(archive.namelist())})
    if not name.endswith(".npy"):
        return data
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    # The nodes of a tree: copied field by field, so that the padding between fields is zero.
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    return out.getvalue()
