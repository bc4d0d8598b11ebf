"""Golden rows: calls with the answers the model gave when it was packed, replayed wherever it is loaded.

A replay that differs means another library version, another CPU kernel or a damaged file, found before a user does.
`docs/formats/golden.md` specifies the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from penstock.bundle.bundle import Bundle
from penstock.core.clock import Clock, monotonic
from penstock.core.errors import InvalidInput, ModelFailed
from penstock.core.frames import decode_frame, encode_frame
from penstock.core.tensors import Array, Tensors, datatype_of
from penstock.runtime.model import Model

FORMAT = 1


class GoldenCall(msgspec.Struct, frozen=True):
    """One call with the outputs it must have: all golden rows together, or one whole call of an unbatched model."""

    inputs: Tensors
    outputs: Tensors


class Difference(msgspec.Struct, frozen=True):
    """The first place where two results differ; `index` is the element's position, its row first."""

    output: str
    index: tuple[int, ...]
    expected: str
    got: str

    def __str__(self) -> str:
        where = f" row {self.index[0]}" if self.index else ""
        where += f" column {', '.join(map(str, self.index[1:]))}" if len(self.index) > 1 else ""
        return f"{self.output}{where}: expected {self.expected}, got {self.got}"


class Comparison(msgspec.Struct, frozen=True):
    """What comparing two results found. `largest_difference` is absolute, over every score finite in both."""

    labels_equal: bool
    largest_difference: float
    first: Difference | None

    @property
    def equal(self) -> bool:
        """Labels equal and scores within the tolerance."""
        return self.first is None


class Cost(msgspec.Struct, frozen=True):
    """What the model was measured to cost, in seconds: the best of its runs alone and of `rows` rows together."""

    single_s: float
    batch_s: float
    rows: int


def write(path: Path, calls: Sequence[GoldenCall]) -> None:
    """Write the golden set: one call for a batched model, several whole ones for one without rows."""
    tensors: Tensors = {}
    for number, call in enumerate(calls):
        tensors |= {f"{number}/inputs/{name}": array for name, array in call.inputs.items()}
        tensors |= {f"{number}/outputs/{name}": array for name, array in call.outputs.items()}
    path.write_bytes(encode_frame(tensors, {"format": FORMAT, "calls": len(calls)}))


def read(path: Path) -> tuple[GoldenCall, ...]:
    """Read a golden set of any released format; raises InvalidInput for a newer or a damaged one."""
    tensors, meta = decode_frame(path.read_bytes())
    version, count = meta.get("format"), meta.get("calls")
    if not isinstance(version, int) or not isinstance(count, int) or not 0 < count <= len(tensors):
        raise InvalidInput("damaged-golden", f"{path.name} is not a golden set", hint="pack the model again")
    if version > FORMAT:
        raise InvalidInput("newer-format", f"{path.name} has format {version}, newer than {FORMAT}", hint="upgrade")
    calls = tuple(GoldenCall({}, {}) for _ in range(count))
    for key, array in tensors.items():
        number, _, rest = key.partition("/")
        side, _, name = rest.partition("/")
        if not (number.isascii() and number.isdigit() and int(number) < count and side in ("inputs", "outputs")):
            raise InvalidInput("damaged-golden", f"{path.name} holds {key[:80]!r}", hint="pack the model again")
        (calls[int(number)].inputs if side == "inputs" else calls[int(number)].outputs)[name] = array
    return calls


def sample_inputs(bundle: Bundle) -> Tensors:
    """The inputs of the first golden call: real rows to warm up and to measure with."""
    return read(bundle.path(bundle.manifest.golden.path))[0].inputs


def compare(expected: Tensors, got: Tensors, rtol: float, atol: float) -> Comparison:
    """Compare two results: floats within `atol + rtol * |expected|` with NaN equal to NaN, anything else exactly.

    Example:
        >>> compare({"p": np.array([1, 2])}, {"p": np.array([1, 3])}, 0, 0).first
        Difference(output='p', index=(1,), expected='2', got='3')
    """
    labels_equal, largest, first = True, 0.0, None
    for name, want in expected.items():
        have = got.get(name)
        found = _described(name, want, have)
        if found is None and have is not None:
            wrong = _differs(want, have, rtol, atol)
            found = _first(name, wrong, want, have) if wrong.any() else None
            if want.dtype.kind == "f":
                largest = max(largest, _largest(want, have))
        labels_equal &= found is None or want.dtype.kind == "f"
        first = first or found
    return Comparison(labels_equal, largest, first)


def _described(name: str, want: Array, have: Array | None) -> Difference | None:
    """The difference in what an output is (there at all, datatype, shape), before what it holds."""
    described = f"{datatype_of(want)}{list(want.shape)}"
    if have is None:
        return Difference(name, (), described, "no such output")
    other = f"{datatype_of(have)}{list(have.shape)}"
    return None if other == described else Difference(name, (), described, other)


def _differs(want: Array, have: Array, rtol: float, atol: float) -> Array:
    if want.dtype.kind == "f":
        return ~np.isclose(have.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True)
    return np.asarray(want != have, np.bool_)


def _largest(want: Array, have: Array) -> float:
    finite = np.isfinite(want) & np.isfinite(have)
    if not finite.any():
        return 0.0
    return float(np.abs(want[finite].astype(np.float64) - have[finite].astype(np.float64)).max())


def _first(name: str, wrong: Array, want: Array, have: Array) -> Difference:
    index = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    return Difference(name, index, str(want[index]), str(have[index]))


def replay(model: Model, bundle: Bundle, *, clock: Clock = monotonic, pause: Callable[[], None] = lambda: None) -> Cost:
    """Run every golden row through `model`, alone and together, and compare with the manifest's tolerances.

    `pause` is called before each run, so that a node can go on answering in between.
    Rows of a bundle whose rows may not share a run are only replayed together, as they were recorded. A model that is
    not deterministic must give the recorded dtypes and shapes, and finite numbers where finite ones were recorded.
    Raises ModelFailed("golden-mismatch") saying which row and column, what was expected and what came.
    """
    rules = bundle.manifest.golden
    least: dict[int, float] = {}
    for where, rows, call in _plays(bundle):
        pause()
        began = clock()
        got = model.run(call.inputs)
        took = clock() - began
        least[rows] = min(took, least.get(rows, took))
        found = (
            compare(call.outputs, got, rules.rtol, rules.atol).first
            if rules.deterministic
            else _unlike(call.outputs, got)
        )
        if found is not None:
            raise ModelFailed(
                "golden-mismatch",
                f"the model does not answer what it answered when it was packed: {where}: {found}",
                hint="serve it with the library versions of the bundle's environment",
            )
    return Cost(single_s=least[min(least)], batch_s=least[max(least)], rows=max(least))


def _plays(bundle: Bundle) -> Iterator[tuple[str, int, GoldenCall]]:
    """What to run: (where to say it failed, rows, call)."""
    manifest = bundle.manifest
    for number, call in enumerate(read(bundle.path(manifest.golden.path))):
        if not manifest.signature.batched:
            yield f"golden call {number}", 1, call
            continue
        rows = len(next(iter(call.inputs.values())))
        for row in range(rows) if manifest.batching.allowed else ():
            yield f"golden row {row} alone", 1, GoldenCall(_row(call.inputs, row), _row(call.outputs, row))
        # Twice: the first run of a shape pays for allocations and lazy imports, which nobody pays again.
        yield from [(f"{rows} golden rows together", rows, call)] * 2


def _row(tensors: Tensors, row: int) -> Tensors:
    return {name: array[row : row + 1] for name, array in tensors.items()}


def _unlike(expected: Tensors, got: Tensors) -> Difference | None:
    for name, want in expected.items():
        have = got.get(name)
        if (found := _described(name, want, have)) is not None or have is None:
            return found
        if want.dtype.kind == "f" and np.isfinite(want).all() and not np.isfinite(have).all():
            return _first(name, ~np.isfinite(have), want, have)
    return None
