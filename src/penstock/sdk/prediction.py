"""What a call to `predict` gives back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from penstock.core.errors import Unsupported
from penstock.core.signature import Scalar
from penstock.core.tensors import Array

Values = Array | list[Any]


class Prediction(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The answers for the rows of one call, in their order, and which version gave them.

    `predictions` has one answer per row; `probabilities` (shape [rows, classes]) is there when the model gives them,
    and `classes` says which column is which. Rows given as dicts are answered with plain lists, where a value that is
    not finite is None; arrays and frames are answered with read-only numpy arrays in the model's own datatypes.
    `outputs` holds whatever else the model gives. `version` and `arm` tell which one answered, `reason` why that one
    was chosen. `id` finds the call in the node's log.

    Example:
        >>> answer = Prediction(predictions=["no", "yes"], endpoint="churn", version="churn/7")
        >>> len(answer), list(answer), answer[1]
        (2, ['no', 'yes'], 'yes')
    """

    predictions: Values | None
    probabilities: Values | None = None
    classes: tuple[Scalar, ...] | None = None
    outputs: dict[str, Values] = {}
    endpoint: str
    version: str
    arm: str = ""
    reason: str = ""
    id: str = ""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._answers())

    def __iter__(self) -> Iterator[Any]:
        """The answers, row by row."""
        return iter(self._answers())

    def __getitem__(self, row: int) -> Any:
        """The answer for one row."""
        return self._answers()[row]

    def _answers(self) -> Values:
        if self.predictions is None:
            hint = f"it gives {', '.join(self.outputs)}, in `outputs`"
            raise Unsupported("no-predictions", f"{self.endpoint} has no output 'predictions'", hint=hint)
        return self.predictions
