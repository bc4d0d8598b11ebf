"""JSON values to named tensors and back, by rows or by columns. Pure functions, which other contracts use, too.

Which tensor a bare value belongs to follows from the signature: it is the only input.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Array, Tensors, text_if_utf8

BASE64 = "b64"
_NUMBERS: Mapping[str, set[type]] = {"f": {int, float, type(None)}, "i": {int}, "u": {int}, "b": {bool}}


def tensors_of_rows(signature: Signature, instances: Any) -> Tensors:
    """The inputs in a list of rows: objects by input name, or the bare values of the only input; raises InvalidInput.

    Example:
        >>> x = Field(name="x", datatype="FP32", shape=(-1, 2))
        >>> tensors_of_rows(Signature(inputs=(x,), outputs=(), layout="matrix"), [[1, 2], [3, 4]])["x"].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    if type(instances) is not list:
        raise InvalidInput("invalid-instances", "instances is not a list")
    if not instances:
        raise InvalidInput("empty-batch", "instances is empty: there is nothing to answer")
    fields = signature.inputs
    named = [_names_inputs(row) for row in instances]
    if not any(named):
        if len(fields) != 1:
            raise InvalidInput(
                "invalid-instances",
                f"this model takes {len(fields)} inputs, so each instance is an object with a key for each",
                hint=f"the keys are {', '.join(field.name for field in fields[:40])}",
            )
        return {fields[0].name: tensor_of_values(fields[0], instances)}
    names = {field.name for field in fields}
    for number, row in enumerate(instances):
        if not named[number] or row.keys() != names:
            raise _wrong_row(number, row, names)
    return {field.name: tensor_of_values(field, [row[field.name] for row in instances]) for field in fields}


def tensors_of_columns(signature: Signature, inputs: Any) -> Tensors:
    """The inputs in an object of whole tensors by name, or in the bare value of the only input; raises InvalidInput."""
    fields = signature.inputs
    if not _names_inputs(inputs):
        if len(fields) != 1:
            raise InvalidInput(
                "invalid-inputs",
                f"this model takes {len(fields)} inputs, so inputs is an object with a key for each",
                hint=f"the keys are {', '.join(field.name for field in fields[:40])}",
            )
        return {fields[0].name: tensor_of_values(fields[0], inputs)}
    known = {field.name: field for field in fields}
    # An unknown name is for the binder, which says what the model takes.
    return {
        name: tensor_of_values(known[name], value) if name in known else np.zeros(0) for name, value in inputs.items()
    }


def rows_of_tensors(outputs: Tensors) -> list[Any]:
    """The outputs as a list of rows: objects by output name, or bare values where there is one output.

    Raises InvalidInput (`no-rows`) where the outputs have no rows in common.
    """
    lengths = {len(array) if array.ndim else -1 for array in outputs.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise InvalidInput(
            "no-rows", "this model does not answer by rows", hint="ask with `inputs`, whole tensors, not `instances`"
        )
    columns = {name: values_of_tensor(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of_tensors(outputs: Tensors) -> Any:
    """The outputs as an object of whole tensors by name, or the bare tensor where there is one output."""
    columns = {name: values_of_tensor(name, array) for name, array in outputs.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def values_of_tensor(name: str, array: Array) -> Any:
    """A tensor as nested lists. Text of a name that ends in `_bytes`, and bytes that are no text, become base64."""
    values: Any = array.tolist()
    if array.dtype.kind not in "OSU":
        return values
    every = name.endswith("_bytes")
    return _each(values, lambda value: _base64(value) if every or type(value) is bytes else value)


def tensor_of_values(field: Field, values: Any) -> Array:
    """The tensor in nested lists, which must be even, of what the field's datatype is written as; raises InvalidInput.

    null is a missing value, of text or of floats.
    """
    shape, flat = _flattened(field, values)
    dtype = DTYPES[field.datatype]
    if dtype.kind == "O":
        text = np.empty(len(flat), object)
        text[:] = [_text(field, value) for value in flat]
        return text.reshape(shape)
    wrong = set(map(type, flat)) - _NUMBERS[dtype.kind]
    if wrong:
        raise _wrong_type(field, next(value for value in flat if type(value) in wrong))
    try:
        # FP64 first: rounding to the signature's datatype, and its range, are the binder's business.
        return np.array(flat, np.float64 if dtype.kind == "f" else dtype).reshape(shape)
    except OverflowError:
        raise InvalidInput(
            "invalid-value", f"input {field.name!r} has a value beyond the range of {field.datatype}"
        ) from None


def _flattened(field: Field, values: Any) -> tuple[list[int], list[Any]]:
    """The shape of nested lists, and what they hold, in order. Deeper than any tensor that fits is not looked."""
    shape: list[int] = []
    level = [values]
    while len(shape) <= len(field.shape) and any(type(value) is list for value in level):
        sizes = {len(value) if type(value) is list else -1 for value in level}
        if len(sizes) != 1:
            raise InvalidInput(
                "wrong-shape",
                f"input {field.name!r} is uneven: what stands at depth {len(shape) + 1} differs in length",
                hint=f"the model takes {list(field.shape)}",
            )
        shape.append(sizes.pop())
        level = [inner for value in level for inner in value]
    return shape, level


def _names_inputs(value: Any) -> bool:
    """Whether an object names inputs, not bytes."""
    return type(value) is dict and not (len(value) == 1 and type(value.get(BASE64)) is str)


def _wrong_row(number: int, row: Any, names: set[str]) -> InvalidInput:
    if not _names_inputs(row):
        return InvalidInput("invalid-instances", f"instance {number} is not an object, as others are")
    missing, extra = sorted(names - row.keys()), sorted(row.keys() - names)
    said = [
        f"{what} {', '.join(repr(name[:60]) for name in found[:5])}"
        for what, found in (("missing", missing), ("unknown", extra))
        if found
    ]
    return InvalidInput(
        "wrong-inputs",
        f"instance {number}: {' and '.join(said)}",
        hint=f"this model takes {', '.join(sorted(names)[:40])}",
    )


def _text(field: Field, value: Any) -> str | bytes | None:
    if type(value) is str or value is None:
        return value
    if type(value) is dict and len(value) == 1 and type(value.get(BASE64)) is str:
        try:
            return text_if_utf8(base64.b64decode(value[BASE64], validate=True))
        except (binascii.Error, ValueError):
            raise InvalidInput("invalid-value", f"input {field.name!r} has a b64 that is no base64") from None
    raise _wrong_type(field, value)


def _wrong_type(field: Field, value: Any) -> InvalidInput:
    if type(value) is list:
        return InvalidInput(
            "wrong-shape", f"input {field.name!r} is nested deeper than the model takes it: {list(field.shape)}"
        )
    if value is None:
        return InvalidInput(
            "missing-value", f"input {field.name!r} has a missing value (null), and {field.datatype} has none"
        )
    return InvalidInput("invalid-value", f"input {field.name!r} has {str(value)[:60]!r}, which is not {field.datatype}")


def _each(values: Any, change: Any) -> Any:
    return [_each(value, change) for value in values] if type(values) is list else change(values)


def _base64(value: str | bytes | None) -> Mapping[str, str] | None:
    if value is None:
        return None
    data = value if isinstance(value, bytes) else value.encode()
    return {BASE64: base64.b64encode(data).decode()}
