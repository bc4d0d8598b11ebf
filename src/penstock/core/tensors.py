"""Datatypes and the bytes of a tensor, as the Open Inference Protocol v2 defines them.

Source: Open Inference Protocol, "Tensor Data Types" and its binary tensor data extension. In memory a tensor is a
numpy array; BYTES is an array of dtype object that holds `str`, `bytes` or, for a missing value, `None`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.core.errors import InvalidInput

Array = npt.NDArray[np.generic]
Tensors = dict[str, Array]

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# The length that stands for a missing value in our own frames. A real element this long would not fit a frame.
_NULL = 0xFFFFFFFF


def datatype_of(array: Array) -> str:
    """The datatype's name for an array; text and object arrays are BYTES.

    Example:
        >>> datatype_of(np.zeros(2, np.float32)), datatype_of(np.array(["a"]))
        ('FP32', 'BYTES')
    """
    if array.dtype.kind in "OSUT":
        return "BYTES"
    try:
        return _NAMES[array.dtype.newbyteorder("=")]
    except KeyError:
        raise InvalidInput("unknown-datatype", f"numpy dtype {array.dtype} has no datatype in the protocol") from None


def dtype_of(datatype: str) -> np.dtype[np.generic]:
    """The numpy dtype for a datatype's name; raises InvalidInput for an unknown one."""
    try:
        return DTYPES[datatype]
    except (KeyError, TypeError):
        raise InvalidInput(
            "unknown-datatype", f"unknown datatype {str(datatype)[:40]!r}", hint=f"one of {', '.join(DTYPES)}"
        ) from None


def to_bytes(array: Array) -> bytes:
    """Row-major little-endian bytes of a tensor; each BYTES element is preceded by its length in 4 bytes.

    Example:
        >>> to_bytes(np.array(["a", "bc"], object)).hex()
        '0100000061020000006263'
    """
    if array.dtype.kind not in "OSUT":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for element in array.ravel().tolist():
        if element is None:
            parts.append(struct.pack("<I", _NULL))
            continue
        data = element if isinstance(element, bytes) else str(element).encode()
        parts += (struct.pack("<I", len(data)), data)
    return b"".join(parts)


def from_bytes(data: bytes | memoryview, datatype: str, shape: Sequence[int], *, nulls: bool = False) -> Array:
    """The tensor in `data`; the opposite of `to_bytes`.

    Numeric tensors are read-only views of `data`. `nulls` accepts missing BYTES elements, which exist in our own
    frames but not on the wire. Raises InvalidInput when the bytes do not fit datatype and shape exactly.
    """
    dtype, count = dtype_of(datatype), math.prod(shape)
    if datatype == "BYTES":
        return _split(bytes(data), count, nulls).reshape(shape)
    if len(data) != count * dtype.itemsize:
        raise InvalidInput(
            "wrong-binary-size",
            f"{datatype} of shape {list(shape)} takes {count * dtype.itemsize} bytes, not {len(data)}",
        )
    if datatype == "BOOL" and bytes(data).translate(None, b"\0\1"):
        raise InvalidInput("invalid-value", "a BOOL byte is neither 0 nor 1")
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _split(data: bytes, count: int, nulls: bool) -> Array:
    elements: list[str | bytes | None] = []
    at = 0
    # `count` comes from the caller: stop at the end of the data, or a huge shape would loop for ever.
    while at < len(data) and len(elements) < count:
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if length == _NULL and nulls:
            elements.append(None)
            continue
        if at + length > len(data):
            raise InvalidInput("wrong-binary-size", f"BYTES element {len(elements)} claims {length} bytes past the end")
        elements.append(text_if_utf8(data[at : at + length]))
        at += length
    if at != len(data) or len(elements) != count:
        raise InvalidInput(
            "wrong-binary-size", f"BYTES tensor has {len(elements)} whole elements, shape asks for {count}"
        )
    out = np.empty(count, object)
    out[:] = elements
    return out


def text_if_utf8(data: bytes) -> str | bytes:
    """Text where the bytes are UTF-8, else the bytes as they are.

    Models are trained on text; an element that is not text must reach the model unchanged, or be refused by it.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
