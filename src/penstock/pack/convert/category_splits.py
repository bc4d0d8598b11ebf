"""Splits on sets of categories as splits on numbers: every set becomes a column that says left (0) or right (1).

One look-up per feature and row, by the category's code, gives all its columns at once; the trees then only compare
with 0.5. ONNX has an operator for sets (`BRANCH_MEMBER`), but ONNX Runtime 1.31 needs five times as long for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Value

THRESHOLD = 0.5


class CategorySplits:
    """Collects the sets that a forest splits on, equal ones once."""

    def __init__(self) -> None:
        self._columns: dict[int, dict[bytes, int]] = {}

    def add(self, feature: int, goes_right: npt.NDArray[np.bool_]) -> tuple[int, int]:
        """Note a split; `goes_right` has one truth value per code, and a last one for what has no code.

        Returns (feature, column): the column's place is known once all splits are, see `places`.
        """
        columns = self._columns.setdefault(feature, {})
        return feature, columns.setdefault(np.asarray(goes_right, np.uint8).tobytes(), len(columns))

    def places(self, first: int) -> dict[int, int]:
        """Where each feature's columns begin in a matrix that has `first` other columns before them."""
        begins = {}
        for feature, columns in sorted(self._columns.items()):
            begins[feature] = first
            first += len(columns)
        return begins

    def look_up(self, context: Context, codes: dict[int, str]) -> list[Value]:
        """The columns, feature by feature; `codes` names the tensor [rows, 1] of int64 codes of each feature."""
        found = []
        for feature, columns in sorted(self._columns.items()):
            table = np.stack([np.frombuffer(sides, np.uint8) for sides in columns], axis=1).astype(np.float64)
            name = context.graph.op("GatherND", context.graph.constant(table), codes[feature])
            found.append(Value(name, "float64", len(columns)))
        return found
