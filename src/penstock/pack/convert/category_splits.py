"""Splits on sets of categories as splits on numbers: every set becomes a column that says left (0) or right (1).

One look-up per feature and row, by the category's code, gives all its columns at once; the trees then only compare
with 0.5. ONNX has an operator for sets (`BRANCH_MEMBER`), but ONNX Runtime 1.31 needs several times as long for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.pack.convert.context import Context
from penstock.pack.convert.forest import Tree
from penstock.pack.convert.values import Value

_THRESHOLD = 0.5


class CategorySplits:
    """Collects the sets that a forest splits on, equal ones once."""

    def __init__(self) -> None:
        self._columns: dict[int, dict[bytes, int]] = {}

    def add(self, feature: int, goes_right: npt.NDArray[np.bool_], *, otherwise: bool = True) -> tuple[int, int]:
        """Note a split: for each code whether it goes right, and whether what has no code does.

        Returns (feature, column) for `place`, which knows where a feature's columns begin once all splits are added.
        """
        sides = np.asarray(goes_right, bool)
        # Codes at the end that go where unknown ones go need no row: sets of different lengths become equal.
        different = np.flatnonzero(sides != otherwise)
        sides = sides[: different[-1] + 1 if len(different) else 0]
        columns = self._columns.setdefault(feature, {})
        return feature, columns.setdefault(bytes([otherwise, *sides.tolist()]), len(columns))

    def size(self, feature: int) -> int:
        """How many codes the feature's table has rows for."""
        return max(len(sides) for sides in self._columns[feature]) - 1

    def place(
        self, grown: Iterable[tuple[Tree, dict[int, tuple[int, int]]]], numeric: Iterable[int]
    ) -> tuple[Tree, ...]:
        """The trees over a matrix of the `numeric` features, in that order, and the columns of `look_up`.

        Each tree comes with what `add` gave for its nodes that split on categories.
        """
        columns = {feature: column for column, feature in enumerate(numeric)}
        begins, first = {}, len(columns)
        for feature in self.features:
            begins[feature] = first
            first += len(self._columns[feature])
        return tuple(_moved(tree, sets, columns, begins) for tree, sets in grown)

    @property
    def features(self) -> list[int]:
        """The features that are split by categories."""
        return sorted(self._columns)

    def look_up(self, context: Context, codes: dict[int, tuple[str, int]]) -> list[Value]:
        """The columns, feature by feature.

        `codes` names, for each feature, the tensor [rows, 1] of its int64 codes and the code of what is unknown.
        """
        found = []
        for feature in self.features:
            columns, (name, unknown) = self._columns[feature], codes[feature]
            table = np.empty((unknown + 1, len(columns)))
            for column, sides in enumerate(columns):
                table[:, column] = sides[0]
                table[: len(sides) - 1, column] = list(sides[1 : unknown + 1])
            found.append(
                Value(context.graph.op("GatherND", context.graph.constant(table), name), "float64", len(columns))
            )
        return found


def _moved(tree: Tree, sets: dict[int, tuple[int, int]], columns: dict[int, int], begins: dict[int, int]) -> Tree:
    # Leaves carry a feature that means nothing.
    feature = np.array([columns.get(at, 0) for at in tree.feature.tolist()], np.int64)
    threshold = tree.threshold.copy()
    for at, (of, column) in sets.items():
        feature[at], threshold[at] = begins[of] + column, _THRESHOLD
    return msgspec.structs.replace(tree, feature=feature, threshold=threshold)
