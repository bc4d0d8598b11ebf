"""The values of a message's repeated field to a flat array, and an array's back: what the gRPC contracts share.

Integers of 8 and 16 bits have no field of their own width: they travel in one of 32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.core.tensors import DTYPES, Array, datatype_of, text_if_utf8
from penstock.protocols.oip.json_data import narrow

# The fields that are wider than some of their datatypes.
_WIDE = {
    "int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32), "int_val": np.dtype(np.int32),
}  # fmt: skip


def flat_of(name: str, datatype: str, field: str, values: Any) -> Array:
    """The values of one input in the field for its datatype; raises InvalidInput for one beyond its range.

    Example:
        >>> flat_of("x", "INT8", "int_contents", [1, -1])
        array([ 1, -1], dtype=int8)
    """
    if datatype == "BYTES":
        text = np.empty(len(values), object)
        text[:] = [text_if_utf8(value) for value in values]
        return text
    dtype = DTYPES[datatype]
    wide = _WIDE.get(field, dtype)
    flat: Array = np.array(values, wide)
    return flat if wide is dtype else narrow(name, datatype, flat, dtype)


def values_of(array: Array) -> list[Any]:
    """The elements in order, text as bytes. A message has no missing text: it is empty there."""
    values: list[Any] = array.ravel().tolist()
    return [_bytes(value) for value in values] if datatype_of(array) == "BYTES" else values


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
