"""What flows between converted steps: tensors of [rows, width], and the frame of them that a step is given.

A frame keeps its columns apart until a step needs one matrix: a table of many columns is then joined once, not at
every step. Dtypes are those that the estimator would have seen, because they decide where it rounds.
"""

from __future__ import annotations

import msgspec
import numpy as np

# In place of a missing string, which an ONNX tensor cannot hold (ONNX Runtime turns None into the text "None").
# U+FDD0 is no character and appears in no text.
MISSING_TEXT = "\ufdd0"

TEXT = "str"


class Value(msgspec.Struct, frozen=True):
    """A tensor of the graph, [rows, width]; `width` 0 means [rows].

    `nullable` marks text that may hold MISSING_TEXT. `fill` is what MISSING_TEXT stands for after an imputer: the
    encoder that follows looks both up in one step.
    """

    name: str
    dtype: str
    width: int
    nullable: bool = False
    fill: str | None = None


class Frame(msgspec.Struct, frozen=True):
    """The columns a step is given, in order; the widths add up to the step's number of features.

    `table` is true while it still is the caller's DataFrame, whose dtypes join by pandas' rules.
    """

    values: tuple[Value, ...]
    table: bool = False

    @property
    def width(self) -> int:
        """How many features there are."""
        return sum(value.width for value in self.values)

    @property
    def dtypes(self) -> set[str]:
        """The dtypes in it."""
        return {value.dtype for value in self.values}


class Classified(msgspec.Struct, frozen=True):
    """What a classifier says: `index` [rows] int64 into its classes, and scores where it has them.

    `decision` is [rows, 1] or [rows, classes], `probabilities` [rows, classes].
    """

    index: Value
    probabilities: Value | None = None
    decision: Value | None = None


def float_dtype(frame: Frame) -> str:
    """The dtype that scikit-learn's `check_array` of floating dtypes would choose for the frame.

    Example:
        >>> float_dtype(Frame((Value("a", "float32", 1), Value("b", "int64", 1))))
        'float64'
    """
    dtypes = frame.dtypes
    # pandas joins bool with numbers to object, which scikit-learn then reads as float64.
    if frame.table and "bool" in dtypes:
        return "float64"
    joined = np.result_type(*sorted(dtypes)) if dtypes else np.dtype(np.float64)
    return "float32" if joined == np.float32 else "float64"
