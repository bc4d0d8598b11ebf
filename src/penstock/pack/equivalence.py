"""Whether two forms of one model answer alike, and whether one form answers alike however its rows are batched."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from penstock.bundle.manifest import Batching
from penstock.core.errors import PenstockError
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.arrays import Values

RTOL, ATOL = 1e-4, 1e-5
Run = Callable[[Tensors], Tensors]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing answers to the same rows found.

    `ties` are labels that differ where the original itself is undecided: its two best scores are equal within the
    tolerance, so that rounding chose one. They are counted and shown, and are no difference.
    """

    rows: int = 0
    labels_equal: bool = True
    scores_equal: bool = True
    largest_difference: float = 0.0
    ties: int = 0
    problem: str = ""

    @property
    def equal(self) -> bool:
        """Nothing differs beyond the tolerance."""
        return self.labels_equal and self.scores_equal and not self.problem

    def plus(self, other: Comparison) -> Comparison:
        """Both comparisons as one."""
        return Comparison(
            rows=self.rows + other.rows,
            labels_equal=self.labels_equal and other.labels_equal,
            scores_equal=self.scores_equal and other.scores_equal,
            largest_difference=max(self.largest_difference, other.largest_difference),
            ties=self.ties + other.ties,
            problem=self.problem or other.problem,
        )


def compare_answers(expected: Tensors, got: Tensors, signature: Signature) -> Comparison:
    """Compare the answers of two forms: labels exactly, scores within `ATOL + RTOL * |expected|`.

    Example:
        >>> from penstock.core.signature import Field
        >>> signature = Signature(inputs=(), outputs=(Field(name="p", datatype="FP64", shape=(-1,)),), layout="table")
        >>> compare_answers({"p": np.array([1.0, 2.0])}, {"p": np.array([1.0, 2.1])}, signature).equal
        False
    """
    total = Comparison(rows=len(next(iter(expected.values()), ())))
    tied = _tied(expected.get("probabilities"))
    for name, want in expected.items():
        have = got.get(name)
        if have is None or have.shape != want.shape:
            shape = "nothing" if have is None else f"shape {list(have.shape)}"
            return total.plus(Comparison(problem=f"{name} has {shape}, not shape {list(want.shape)}"))
        labels = want.dtype.kind != "f" or (name == "predictions" and signature.classes is not None)
        if labels and _sort(want) != _sort(have):
            return total.plus(Comparison(problem=f"{name} are {have.dtype}, not {want.dtype}"))
        total = total.plus(_labels(want, have, tied) if labels else _scores(want, have))
    return total


def _sort(array: Values) -> str:
    return {"u": "i", "U": "O", "S": "O"}.get(array.dtype.kind, array.dtype.kind)


def _tied(probabilities: Values | None) -> Values | None:
    if probabilities is None or probabilities.ndim != 2 or probabilities.shape[1] < 2:
        return None
    best = np.sort(probabilities.astype(np.float64), axis=1)[:, -2:]
    tied: Values = best[:, 1] - best[:, 0] <= ATOL + RTOL * np.abs(best[:, 1])
    return tied


def _labels(want: Values, have: Values, tied: Values | None) -> Comparison:
    differ = np.asarray(want != have, np.bool_)
    if want.dtype.kind == "f":
        differ &= ~(np.isnan(want) & np.isnan(have))
    undecided = differ & tied if tied is not None and differ.shape == tied.shape else np.zeros_like(differ)
    return Comparison(labels_equal=not bool((differ & ~undecided).any()), ties=int(undecided.sum()))


def _scores(want: Values, have: Values) -> Comparison:
    wide, other = want.astype(np.float64), have.astype(np.float64)
    close = np.isclose(other, wide, rtol=RTOL, atol=ATOL, equal_nan=True)
    finite = np.isfinite(wide) & np.isfinite(other)
    largest = float(np.abs(wide[finite] - other[finite]).max()) if finite.any() else 0.0
    return Comparison(scores_equal=bool(close.all()), largest_difference=largest)


def take(tensors: Tensors, rows: Values | slice) -> Tensors:
    """These rows of every tensor."""
    return {name: array[rows] for name, array in tensors.items()}


def join(parts: Iterable[Tensors]) -> Tensors:
    """The rows of all parts, one after the other."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def answered_rows(run: Run, rows: Tensors) -> tuple[list[tuple[Tensors, Tensors]], list[Tensors]]:
    """The rows that are answered, with the answers, as one block or none; and each row that is refused.

    One made-up row that a model cannot take must not cost the others.
    """
    try:
        return [(rows, run(rows))], []
    except PenstockError:
        kept, refused = [], []
    for row in range(len(next(iter(rows.values())))):
        one = take(rows, slice(row, row + 1))
        try:
            kept.append((one, run(one)))
        except PenstockError:
            refused.append(one)
    return [(join(a for a, _ in kept), join(b for _, b in kept))] if kept else [], refused


def prove_batching(run: Run, rows: Tensors, seed: int) -> Batching:
    """Compare the same rows alone, together, padded and shuffled; a model whose rows touch each other fails one."""
    count = len(next(iter(rows.values())))
    order = np.random.default_rng(seed).permutation(count)
    try:
        together = run(rows)
        ways = {
            "alone": join(run(take(rows, slice(row, row + 1))) for row in range(count)),
            "padded": take(run(join([rows, *[take(rows, slice(count - 1, count))] * count])), slice(0, count)),
            "shuffled": take(run(take(rows, order)), np.argsort(order)),
            "halved": join(run(take(rows, half)) for half in (slice(0, count // 2 + 1), slice(count // 2 + 1, None))
                           if len(order[half])),
        }  # fmt: skip
    except PenstockError as error:
        return Batching(allowed=False, reason=f"the model failed on some batch of its own rows: {error.message[:200]}")
    largest = 0.0
    for way, answers in ways.items():
        for name, want in together.items():
            have = answers[name]
            found = _scores(want, have) if want.dtype.kind == "f" else _labels(want, have, None)
            largest = max(largest, found.largest_difference)
            if not found.equal:
                return Batching(
                    allowed=False,
                    reason=f"rows answered {way} differ in {name} from the same rows together",
                    rows_compared=count,
                    largest_difference=largest,
                )
    return Batching(
        allowed=True,
        reason="rows answered alone, together, padded and shuffled agree",
        rows_compared=count,
        largest_difference=largest,
    )
