"""The usual form of an input, read in one go: flat JSON numbers in the signature's own datatype and shape.

Nine requests in ten look like this, so it is worth a path of its own. It accepts only what is certainly right; for
everything else it says None, and the general path finds out what is wrong, if anything is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np
import simdjson

from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Array
from penstock.protocols.oip.json_data import LARGE_BYTES, buffer_of

_parse: Any = simdjson.Parser().parse


class UsualInput:
    """Reads the usual form of one numeric input whose dimensions are fixed but for the rows."""

    def __init__(self, field: Field) -> None:
        self._datatype = field.datatype
        self._inner = list(field.shape[1:])
        self._size = prod(field.shape[1:])
        self._letter, self._wide = buffer_of(field.datatype)
        self._dtype = DTYPES[field.datatype]
        self._exact = self._wide is self._dtype
        self._floats = self._dtype.kind == "f"

    def read(self, datatype: str, shape: list[int], raw: bytes) -> Array | None:
        """The tensor, or None when the general path has to look."""
        if datatype != self._datatype or shape[1:] != self._inner or raw.find(b"[", 1) > 0 or len(raw) > LARGE_BYTES:
            return None
        try:
            flat: Array = np.frombuffer(_parse(raw).as_buffer(of_type=self._letter), self._wide)
        except (ValueError, TypeError, AttributeError, RuntimeError):
            return None
        # A shape without dimensions passes the comparison above when the rest of the field's is empty, too.
        if not len(flat) or not shape or len(flat) != shape[0] * self._size:
            return None
        if not self._exact:
            flat = flat.astype(self._dtype)
        # The sum of squares is finite unless a value is not, or it overflows: one cheap pass decides almost always.
        return flat.reshape(shape) if not self._floats or isfinite(flat.dot(flat)) else None


def usual_inputs(fields: Sequence[Field]) -> dict[str, UsualInput]:
    """A reader for each input that has a usual form: floats and 64-bit integers, rows first, the rest fixed."""
    return {
        field.name: UsualInput(field)
        for field in fields
        if field.datatype in ("FP32", "FP64", "INT64", "UINT64")
        and field.shape[:1] == (-1,)
        and -1 not in field.shape[1:]
        and not field.closed
        and not field.integers
    }
