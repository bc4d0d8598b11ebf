"""TensorProto, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput, TooLarge
from penstock.core.tensors import DTYPES, Array, datatype_of, from_bytes
from penstock.protocols.oip.form import first_binary
from penstock.protocols.oip.json_data import check_shape, narrow, wrong_count
from penstock.protocols.typed_values import flat_of, values_of

# fmt: off
# DataType to our datatype, and the field of a TensorProto that holds its values one by one.
DATATYPES = {
    1: ("FP32", "float_val"), 2: ("FP64", "double_val"), 3: ("INT32", "int_val"), 4: ("UINT8", "int_val"),
    5: ("INT16", "int_val"), 6: ("INT8", "int_val"), 7: ("BYTES", "string_val"), 9: ("INT64", "int64_val"),
    10: ("BOOL", "bool_val"), 17: ("UINT16", "int_val"), 19: ("FP16", "half_val"), 22: ("UINT32", "uint32_val"),
    23: ("UINT64", "uint64_val"),
}
# fmt: on
NUMBERS = {datatype: number for number, (datatype, _) in DATATYPES.items()}
_FIELDS = dict(DATATYPES.values())
# A single value may stand for a whole tensor. Up to here: a message of some bytes must not become gigabytes.
MOST_REPEATED_BYTES = 2**26


class Budget:
    """What the tensors of one message may still be filled up with, in bytes."""

    def __init__(self) -> None:
        self.left = MOST_REPEATED_BYTES


def tensor_of(name: str, proto: Any, budget: Budget) -> Array:
    """The tensor in a TensorProto; raises InvalidInput, TooLarge where the message's budget is spent.

    Fewer values than the shape asks for are filled up with the last one, none at all with zeros, as TensorFlow does.
    """
    datatype, field = DATATYPES.get(proto.dtype, ("", ""))
    if not datatype:
        raise InvalidInput(
            "unknown-datatype", f"input {name[:60]!r} has the TensorFlow type {proto.dtype}, which no model here takes"
        )
    if proto.tensor_shape.unknown_rank:
        raise InvalidInput("wrong-shape", f"input {name[:60]!r} has no shape")
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    count = check_shape(name, shape)
    given = [found.name for found, _ in proto.ListFields() if found.name.endswith("_val")]
    if proto.tensor_content:
        if given or datatype == "BYTES":
            raise InvalidInput("mixed-contents", f"input {name[:60]!r} has tensor_content and {field}, or is text")
        return from_bytes(proto.tensor_content, datatype, shape)
    if given not in ([], [field]):
        raise InvalidInput("wrong-contents", f"input {name[:60]!r} has its values in {', '.join(given)}, not {field}")
    values = getattr(proto, field)
    if len(values) > count:
        raise wrong_count(name, shape, len(values))
    return _filled(name, _flat(name, datatype, field, values), count, budget).reshape(shape)


def _flat(name: str, datatype: str, field: str, values: Any) -> Array:
    if datatype == "FP16":
        # Each value holds the 16 bits of one number.
        bits = np.array(values, np.int32)
        return narrow(name, "UINT16", bits, np.dtype(np.uint16)).view(np.float16)
    return flat_of(name, datatype, field, values)


def _filled(name: str, flat: Array, count: int, budget: Budget) -> Array:
    if len(flat) == count:
        return flat
    budget.left -= count * flat.dtype.itemsize
    if budget.left < 0:
        raise TooLarge(
            "repeated-too-large",
            f"input {name[:60]!r} would have {count} elements of {len(flat)} given ones",
            hint="give every element",
        )
    out = np.empty(count, flat.dtype)
    out[: len(flat)] = flat
    out[len(flat) :] = flat[-1] if len(flat) else "" if flat.dtype.kind == "O" else 0
    return out


def put(proto: Any, array: Array) -> None:
    """Write a tensor into a TensorProto, value by value: clients read `float_val` and the like by themselves."""
    datatype = datatype_of(array)
    proto.dtype = NUMBERS[datatype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS[datatype]).extend(values_of(array.view(np.uint16) if datatype == "FP16" else array))


def first_value(proto: Any) -> Any:
    """The first element of a TensorProto, which is a zero where the shape has more than there are values."""
    datatype, field = DATATYPES[proto.dtype]
    if proto.tensor_content:
        return first_binary(datatype, [1], proto.tensor_content)
    values = getattr(proto, field)
    value = values[0] if values else b"" if datatype == "BYTES" else 0
    if datatype == "BYTES":
        return value
    # Of FP32 the digits that FP32 has, as in every other form of a request.
    return np.uint16(value).view(np.float16) if datatype == "FP16" else DTYPES[datatype].type(value)
