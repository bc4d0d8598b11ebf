"""Recorded calls of an endpoint, answered again by any version, and the answers compared row by row.

What runs a model is handed in: this only reads the log, makes the calls and looks at the differences.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import NotFound, PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Array, Tensors, dtype_of
from penstock.predlog.table_engine import engine_errors
from penstock.predlog.table_views import EVERYTHING, LogPlaces, Selection, open_views

Run = Callable[[Tensors], Tensors]
_MOST_FLIPS = 20


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """One row whose answer is not what it was, and the output where that shows most.

    `changed` says that a label is another one (or a score no number any more), `shift` is the largest difference of
    the row's scores. A label is an output of any datatype but floating point, a score one of floating point.
    """

    request_id: str
    row: int
    output: str
    recorded: Any
    got: Any
    changed: bool
    shift: float


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What answering again showed.

    `rows` were compared, `changed` of them have another label; the shifts are absolute, of the row's score that moved
    most, where that is more than rounding. `skipped` counts rows by reason: `withheld` (an input was dropped or
    hashed), `unfit` (the version takes other inputs), `refused` (it failed), `no-output` (it answers nothing that was
    recorded). `flips` are the worst.
    """

    endpoint: str
    rows: int
    changed: int
    largest_shift: float
    mean_shift: float
    skipped: dict[str, int]
    flips: tuple[Flip, ...]
    warnings: tuple[str, ...] = ()


class _Recorded(msgspec.Struct, frozen=True):
    request_id: str
    row: int
    policy: dict[str, str]
    values: dict[str, Any]


def replay(
    places: LogPlaces,
    endpoint: str,
    signature: Signature,
    run: Run,
    selection: Selection = EVERYTHING,
    *,
    sample: int = 10_000,
    batch_rows: int = 64,
) -> Replay:
    """Answer at most `sample` recorded rows of `endpoint` by `run`; which ones follows from their ids, not from chance.

    `run` takes tensors of `signature` and gives its outputs; what it raises as a PenstockError counts as `refused`.
    Raises NotFound (`no-records`) when nothing answered was recorded.
    """
    selection = msgspec.structs.replace(selection, endpoint=endpoint)
    recorded, warnings = _recorded(places, selection, sample)
    if not recorded:
        raise NotFound("no-records", f"no answered call of {endpoint!r} is recorded there", hint="widen the time")
    skipped: Counter[str] = Counter()
    usable: list[tuple[_Recorded, Tensors]] = []
    for entry in recorded:
        reason, tensors = _inputs(entry, signature)
        if reason:
            skipped[reason] += 1
        else:
            usable.append((entry, tensors))
    compared: list[Flip] = []
    size = batch_rows if signature.batched else 1
    for start in range(0, len(usable), size):
        for entry, outputs in _answers(usable[start : start + size], signature, run, skipped):
            flip = _compare(entry, signature, outputs)
            if flip is None:
                skipped["no-output"] += 1
            else:
                compared.append(flip)
    return Replay(
        endpoint=endpoint,
        rows=len(compared),
        changed=sum(flip.changed for flip in compared),
        largest_shift=max((flip.shift for flip in compared), default=0.0),
        mean_shift=sum(flip.shift for flip in compared) / max(len(compared), 1),
        skipped=dict(skipped),
        flips=tuple(heapq.nlargest(_MOST_FLIPS, (flip for flip in compared if any(_badness(flip))), key=_badness)),
        warnings=warnings,
    )


def _recorded(places: LogPlaces, selection: Selection, sample: int) -> tuple[list[_Recorded], tuple[str, ...]]:
    with open_views(places, selection) as views, engine_errors("reading what was recorded"):
        found = views.engine.execute(
            # What a shadow answered nobody was told.
            "SELECT * FROM predictions WHERE status < 400 AND reason <> 'shadow'"
            " ORDER BY md5(request_id), time, row LIMIT ?",
            [sample],
        )
        names = [str(column[0]) for column in found.description]
        rows = found.fetchall()
    entries = (dict(zip(names, row, strict=True)) for row in rows)
    recorded = [
        _Recorded(
            values["request_id"], values["row"],
            msgspec.json.decode(values["policy"] or "{}", type=dict[str, str]), values,
        )
        for values in entries
    ]  # fmt: skip
    return recorded, views.warnings


def _inputs(entry: _Recorded, signature: Signature) -> tuple[str, Tensors]:
    """The tensors of one row, or why there are none."""
    if any(entry.policy.get(f"inputs/{field.name}", "keep") != "keep" for field in signature.inputs):
        return "withheld", {}
    try:
        return "", {field.name: _tensor(entry.values, field, signature.batched) for field in signature.inputs}
    except (KeyError, TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return "unfit", {}


def _tensor(values: Mapping[str, Any], field: Field, batched: bool) -> Array:
    value = values[f"input.{field.name}"]
    dtype = dtype_of(field.datatype)
    elements = value if isinstance(value, list) else [value]
    if dtype.kind == "f":
        # The table has no NaN: what was missing is NULL there.
        elements = [math.nan if element is None else element for element in elements]
    if field.datatype == "BYTES" and not all(isinstance(element, str | None) for element in elements):
        raise ValueError(f"{field.name} is no text")
    if field.datatype != "BYTES":
        # Text where another version has text under this name: the view gives one type to all.
        elements = [msgspec.json.decode(element) if isinstance(element, str) else element for element in elements]
    array = np.empty(len(elements), dtype)
    array[:] = elements
    if dtype.kind in "iub" and any(element != back for element, back in zip(elements, array.tolist(), strict=True)):
        raise ValueError(f"{field.name} does not fit {field.datatype}")
    return array.reshape(1, *field.shape[1:]) if batched else array.reshape(field.shape)


def _answers(
    batch: list[tuple[_Recorded, Tensors]], signature: Signature, run: Run, skipped: Counter[str]
) -> Iterator[tuple[_Recorded, Tensors]]:
    """Each row with its outputs; a batch that fails is tried again row by row: a bad row costs only itself."""
    try:
        if len(batch) > 1:
            names = [field.name for field in signature.inputs]
            together = run({name: np.concatenate([tensors[name] for _, tensors in batch]) for name in names})
        else:
            together = run(batch[0][1])
    except (PenstockError, ValueError):
        # ValueError: rows whose open dimensions differ cannot be joined.
        if len(batch) == 1:
            skipped["refused"] += 1
        else:
            for one in batch:
                yield from _answers([one], signature, run, skipped)
        return
    for at, (entry, _) in enumerate(batch):
        yield entry, {name: array[at] if signature.batched else array for name, array in together.items()}


def _compare(entry: _Recorded, signature: Signature, outputs: Tensors) -> Flip | None:
    """The row as a flip, even where nothing differs; None when nothing can be compared."""
    worst: Flip | None = None
    for field in signature.outputs:
        was = entry.values.get(f"output.{field.name}")
        if was is None or field.name not in outputs or entry.policy.get(f"outputs/{field.name}", "keep") != "keep":
            continue
        before = was if isinstance(was, list) else [was]
        after = [_plain(value) for value in np.asarray(outputs[field.name]).ravel().tolist()]
        score = dtype_of(field.datatype).kind == "f"
        shift = _shift(before, after) if score else None
        changed = shift is None if score else list(map(_label, before)) != list(map(_label, after))
        found = Flip(
            request_id=entry.request_id, row=entry.row, output=field.name, recorded=was,
            got=after if isinstance(was, list) else after[0], changed=changed, shift=shift or 0.0,
        )  # fmt: skip
        worst = found if worst is None else _both(worst, found)
    return worst


def _both(first: Flip, second: Flip) -> Flip:
    """Of two outputs of a row the one to be shown, with the larger shift of both."""
    shown = max(second, first, key=_badness) if first.changed == second.changed else first if first.changed else second
    return msgspec.structs.replace(shown, shift=max(first.shift, second.shift))


def _badness(flip: Flip) -> tuple[bool, float]:
    return flip.changed, flip.shift


def _shift(before: list[Any], after: list[Any]) -> float | None:
    """The largest difference of two lists of scores; None when they are not comparable: other lengths, one NaN."""
    try:
        before = [None if value is None else float(value) for value in before]
    except ValueError:
        return None
    if len(before) != len(after):
        return None
    shifts = [0.0]
    for was, got in zip(before, after, strict=True):
        gone = was is None or math.isnan(was)
        if gone != math.isnan(got):
            return None
        # FP32 sums in another order differ by rounding, which is no shift; equal infinities are close, too.
        shifts.append(0.0 if gone or math.isclose(was, got, rel_tol=1e-6, abs_tol=1e-9) else abs(was - got))
    largest = max(shifts)
    return largest if math.isfinite(largest) else None


def _label(value: Any) -> str:
    # As text, because the view gives text for numbers where another version has text under the name.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
