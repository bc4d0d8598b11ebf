"""Schema compatibility: whether everybody who calls the champion may go on as before.

What callers send must be taken, and what they read must come. A node takes exactly the inputs of the signature, so one
more breaks its callers, and one less does, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.core.verdicts import Finding
from penstock.gates.candidate import Candidate
from penstock.gates.plan import SchemaSettings


class Break(msgspec.Struct, frozen=True):
    """One thing that callers rely on and would not get."""

    where: str
    what: str


def check(candidate: Candidate, settings: SchemaSettings) -> Finding:
    """Compare the signatures; pass where there is no champion, and so nobody who calls."""
    if candidate.champion is None:
        return Finding(gate="schema", verdict="pass", summary="no champion, so no callers yet")
    found = list(breaks(candidate.champion.signature, candidate.signature))
    known = [one for one in found if one.where in settings.allow]
    bad = [one for one in found if one.where not in settings.allow]
    evidence = {"breaks": msgspec.to_builtins(bad), "allowed": msgspec.to_builtins(known)}
    if bad:
        said = "; ".join(f"{one.where}: {one.what}" for one in bad[:3]) + (f"; {len(bad) - 3} more" * (len(bad) > 3))
        return Finding(gate="schema", verdict="fail", summary=said, evidence=evidence)
    said = "callers of the champion can go on" + (f", {len(known)} breaks are allowed" if known else "")
    return Finding(gate="schema", verdict="pass", summary=said, evidence=evidence)


def breaks(old: Signature, new: Signature) -> Iterator[Break]:
    """What callers of `old` would miss in `new`.

    Example:
        >>> x = Field(name="age", datatype="INT64", shape=(-1,))
        >>> old = Signature(inputs=(x,), outputs=(), layout="table")
        >>> new = Signature(inputs=(msgspec.structs.replace(x, datatype="INT32"),), outputs=(), layout="table")
        >>> [(one.where, one.what) for one in breaks(old, new)]
        [('input age', 'INT32 does not hold every INT64')]
    """
    if old.batched and not new.batched:
        yield Break("signature", "takes rows no more")
    takes, sends = _by_name(new.inputs), _by_name(old.inputs)
    for name in sends.keys() - takes.keys():
        yield Break(f"input {name}", "is gone; a node refuses calls that still send it")
    for name in takes.keys() - sends.keys():
        yield Break(f"input {name}", "is new; no caller sends it")
    for name in sends.keys() & takes.keys():
        yield from (Break(f"input {name}", what) for what in _narrower(sends[name], takes[name]))
    gives = _by_name(new.outputs)
    for field in old.outputs:
        if field.name not in gives:
            yield Break(f"output {field.name}", "is gone")
        else:
            yield from (Break(f"output {field.name}", what) for what in _other(field, gives[field.name]))
    if old.classes is not None and old.classes != new.classes:
        yield Break("classes", f"were {_few(old.classes)}, are {_few(new.classes)}")


def _by_name(fields: tuple[Field, ...]) -> dict[str, Field]:
    return {field.name: field for field in fields}


def _narrower(old: Field, new: Field) -> Iterator[str]:
    """How `new` takes less than `old` did."""
    if not _holds(DTYPES[new.datatype], DTYPES[old.datatype]):
        yield f"{new.datatype} does not hold every {old.datatype}"
    if not _fits(old.shape, new.shape):
        yield f"takes shape {list(new.shape)}, not {list(old.shape)}"
    if old.nullable and not new.nullable:
        yield "takes no missing values any more"
    if new.integers and (not old.integers or not np.can_cast(DTYPES[old.integers], DTYPES[new.integers], "safe")):
        yield f"takes only whole numbers of {new.integers}"
    if new.closed and new.categories is not None:
        if not old.closed or old.categories is None:
            yield f"takes only {_few(new.categories)}, took any before"
        elif lost := tuple(value for value in old.categories if value not in new.categories):
            # A sensitive column's values stand in no report.
            yield f"takes {f'{len(lost)} values' if new.sensitive else _few(lost)} no more"


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """What a node takes without a change that anybody would see; FP64 for FP32 it rounds, as it always has."""
    if wide == narrow or (wide == np.float32 and narrow == np.float64):
        return True
    # A caller's `true` is no number in JSON, whatever numpy makes of it.
    same_sort = {wide.kind, narrow.kind} <= set("iuf")
    return same_sort and bool(np.can_cast(narrow, wide, "safe"))


def _fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return len(old) == len(new) and all(b in (-1, a) for a, b in zip(old, new, strict=True))


def _other(old: Field, new: Field) -> Iterator[str]:
    """How what callers read differs. Precision may change within a sort: JSON, and clients, do not see it."""
    sorts = ["iu" if DTYPES[field.datatype].kind in "iu" else DTYPES[field.datatype].kind for field in (old, new)]
    if sorts[0] != sorts[1]:
        yield f"is {new.datatype}, was {old.datatype}"
    if len(old.shape) != len(new.shape) or any(a not in (-1, b) for a, b in zip(old.shape, new.shape, strict=True)):
        yield f"has shape {list(new.shape)}, had {list(old.shape)}"


def _few(values: tuple[Any, ...] | None) -> str:
    if values is None:
        return "none"
    return ", ".join(map(repr, values[:8])) + (" …" if len(values) > 8 else "")
