"""The classification extension: an output's largest values, each with its index and label, instead of all of them.

Source: Open Inference Protocol, `extension_classification.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.signature import Scalar
from penstock.core.tensors import Array


def classified(name: str, array: Array, count: int, classes: Sequence[Scalar] | None, *, batched: bool) -> Array:
    """For each row of an output the `count` largest values as `value:index` or `value:index:label`, the largest first.

    Equal values stand in the order of their indices. Raises InvalidInput for an output that is not numeric.

    Example:
        >>> classified("p", np.array([[0.1, 0.7, 0.2]]), 2, ["a", "b", "c"], batched=True).tolist()
        [['0.700000:1:b', '0.200000:2:c']]
    """
    if array.dtype.kind not in "fiu":
        raise InvalidInput("not-classifiable", f"output {name!r} has no numbers that could be put in order")
    rows = array.reshape(len(array), -1) if batched else array.reshape(1, -1)
    count = min(count, rows.shape[1])
    found = np.empty((len(rows), count), object)
    labels = classes if classes is not None and len(classes) == rows.shape[1] else None
    for row, values in enumerate(rows):
        # Stable, so that equal values keep the order of their indices; NaN comes last.
        order = np.argsort(-values.astype(np.float64), kind="stable")[:count].tolist()
        for column, index in enumerate(order):
            said = f"{float(values[index]):f}:{index}"
            found[row, column] = said if labels is None else f"{said}:{labels[index]}"
    return found if batched else found[0]
