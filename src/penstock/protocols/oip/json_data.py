"""The `data` of one tensor, from JSON text to a numpy array.

Text to float is most of the cost of a large request, so numbers go from the text to a buffer in one step (simdjson)
without a Python object each. Everything irregular takes the slow exact path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import simdjson

from penstock.core.errors import InvalidInput
from penstock.core.tensors import DTYPES, Array, dtype_of

_parse: Any = simdjson.Parser().parse
# A parser keeps a buffer as large as the largest text it ever read; larger texts get one of their own.
LARGE_BYTES = 2**20
_MOST_ELEMENTS = 2**40
# numpy has room for 64, and nobody for half of them.
_MOST_DIMENSIONS = 32
# What simdjson can fill a buffer with, by the kind of the datatype.
_WIDE = {"f": ("d", DTYPES["FP64"]), "i": ("i", DTYPES["INT64"]), "u": ("u", DTYPES["UINT64"])}
_BUFFERS = {datatype: _WIDE[dtype.kind] for datatype, dtype in DTYPES.items() if dtype.kind in _WIDE}


def tensor_of_json(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Array:
    """The tensor whose `data` is the JSON text `raw`, flat or nested like `shape`.

    Raises InvalidInput for a wrong count, a ragged nest, an integer out of range or a value of another type. Integers
    keep every bit. Floats are read as FP64 and rounded once; one beyond the datatype's range becomes infinite, which
    `Binder` refuses like any other infinite value.
    """
    if not raw:
        raise InvalidInput("missing-data", f"input {name!r} has neither data nor binary_data_size")
    dtype = dtype_of(datatype)
    count = check_shape(name, shape)
    buffer = _BUFFERS.get(datatype)
    if buffer is not None and raw.startswith(b"[") and (raw.find(b"[", 1) < 0 or _is_regular(raw, shape)):
        letter, wide = buffer
        try:
            parse: Any = _parse if len(raw) < LARGE_BYTES else simdjson.Parser().parse
            flat: Array = np.frombuffer(parse(raw).as_buffer(of_type=letter), wide)
        except (ValueError, TypeError, RuntimeError):
            # null, true, a float among integers or an integer beyond 64 bits: the slow path knows and says which.
            pass
        else:
            if len(flat) != count:
                raise wrong_count(name, shape, len(flat))
            if wide is not dtype:
                flat = narrow(name, datatype, flat, dtype)
            return flat.reshape(shape)
    return _slowly(name, datatype, shape, raw, dtype)


def buffer_of(datatype: str) -> tuple[str, np.dtype[np.generic]]:
    """What simdjson fills a buffer with for a numeric datatype: its letter, and the numpy dtype of that buffer."""
    return _BUFFERS[datatype]


def json_values(array: Array) -> list[Any]:
    """A numeric output's values for JSON, flat and row-major; a non-finite float leaves as null."""
    values: list[Any] = array.tolist() if array.ndim == 1 else array.ravel().tolist()
    return values


def text_values(name: str, array: Array) -> list[Any]:
    """A BYTES output's values for JSON, flat and row-major.

    Raises InvalidInput where bytes are not text: JSON cannot carry them, and base64 would be taken for the value.
    """
    values = json_values(array)
    if any(type(value) is bytes for value in values):
        raise InvalidInput(
            "not-text", f"output {name!r} has bytes that are not UTF-8 text", hint="ask for it as binary data"
        )
    return values


def check_shape(name: str, shape: Sequence[int]) -> int:
    """The number of elements; refuses a negative dimension, and a count that no message could carry."""
    if len(shape) > _MOST_DIMENSIONS:
        raise InvalidInput("wrong-shape", f"input {name!r} has {len(shape)} dimensions, more than {_MOST_DIMENSIONS}")
    count = 1
    for size in shape:
        if size < 0:
            raise InvalidInput("wrong-shape", f"input {name!r} has shape {list(shape)}; no dimension may be negative")
        # An empty dimension hides the others from a product, and not from numpy.
        count *= size or 1
    if count > _MOST_ELEMENTS:
        raise InvalidInput("wrong-shape", f"input {name!r} has shape {list(shape)}, more than any message holds")
    return 0 if 0 in shape else count


def _is_regular(raw: bytes, shape: Sequence[int]) -> bool:
    """Whether the text is surely `[[…], …]` with shape[0] rows of shape[1] numbers; False means: look closely."""
    if len(shape) != 2:
        return False
    pieces = raw.split(b"[")
    if len(pieces) != shape[0] + 2 or pieces[0].strip() or pieces[1].strip():
        return False
    # Row pieces read `1,2,3],`, the last one `1,2,3]]`.
    last = b"".join(pieces.pop().split())
    if not last.endswith(b"]]") or last.count(b",") != shape[1] - 1:
        return False
    return all(piece.rstrip().endswith(b"],") and piece.count(b",") == shape[1] for piece in pieces[2:])


def narrow(name: str, datatype: str, flat: Array, dtype: np.dtype[np.generic]) -> Array:
    """A wide buffer in its own dtype; raises InvalidInput for an integer beyond its range."""
    if dtype.kind == "f":
        return flat.astype(dtype)
    info = np.iinfo(dtype)  # type: ignore[type-var]
    if flat.size and (int(flat.max()) > info.max or int(flat.min()) < info.min):
        raise InvalidInput("invalid-value", f"input {name!r} has a value beyond the range of {datatype}")
    return flat.astype(dtype)


def wrong_count(name: str, shape: Sequence[int], count: int) -> InvalidInput:
    """The failure of an input whose number of values is not its shape's."""
    return InvalidInput(
        "wrong-count", f"input {name!r} has {count} values, its shape {list(shape)} asks for {math.prod(shape)}"
    )


def _slowly(name: str, datatype: str, shape: Sequence[int], raw: bytes, dtype: np.dtype[np.generic]) -> Array:
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-json", f"the data of input {name!r} cannot be read: {error}") from None
    if not isinstance(data, list):
        raise InvalidInput("invalid-value", f"the data of input {name!r} is not a list")
    flat = _flatten(name, data, shape)
    if len(flat) != math.prod(shape):
        raise wrong_count(name, shape, len(flat))
    check = _CHECKS[dtype.kind]
    out = np.empty(len(flat), dtype if dtype.kind in "bO" else _BUFFERS[datatype][1])
    try:
        out[:] = [check(value) for value in flat]
    except (TypeError, OverflowError):
        wrong = next((value for value in flat if not _passes(check, value)), flat)
        raise InvalidInput(
            "invalid-value", f"input {name!r} has {str(wrong)[:60]!r}, which is not {datatype}"
        ) from None
    return (out if dtype.kind in "bO" else narrow(name, datatype, out, dtype)).reshape(shape)


def _flatten(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """Flat data as it is; nested data only if its nesting is exactly the shape's."""
    if not any(type(value) is list for value in data):
        return data
    level: list[Any] = [data]
    for size in shape:
        for item in level:
            if type(item) is not list or len(item) != size:
                raise InvalidInput(
                    "wrong-shape", f"the data of input {name!r} is not nested like its shape {list(shape)}"
                )
        level = [value for item in level for value in item]
    if any(type(value) is list for value in level):
        raise InvalidInput("wrong-shape", f"the data of input {name!r} is nested deeper than its shape {list(shape)}")
    return level


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) is float or type(value) is int:
        return float(value)
    raise TypeError


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    raise TypeError


def _boolean(value: Any) -> bool:
    # 0 and 1 are how the binary form writes it; clients that share code send them in JSON, too.
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise TypeError


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    raise TypeError


_CHECKS: dict[str, Any] = {"f": _number, "i": _integer, "u": _integer, "b": _boolean, "O": _text}


def _passes(check: Any, value: Any) -> bool:
    try:
        check(value)
    except (TypeError, OverflowError):
        return False
    return True
