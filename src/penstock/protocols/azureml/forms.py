"""All forms that `/score` takes and gives, as schemas of OpenAPI 3."""

from __future__ import annotations

from typing import Any, Protocol

from penstock.core.signature import Field, Signature
from penstock.protocols.mlflow.invocations import AZURE_FORMATS, LANGUAGE_KEYS

Document = dict[str, Any]

_ANY: Document = {}


class Value(Protocol):
    """The schema of one input's or output's value, with the dimensions from `start` on."""

    def __call__(self, field: Field, start: int, *, given: bool) -> Document:
        """`given` is true of outputs."""
        ...


def all_forms(signature: Signature, value: Value) -> Document:
    """The schemas by their names, `ServiceInput` and `ServiceOutput` among them."""
    taken, schemas = _by_rows(signature, value) if signature.batched else _whole(signature, value)
    answers = [_refer("Predictions"), _object(predictions=_refer("Predictions"))]
    taken["inputs"] = {"anyOf": [*taken["inputs"]["anyOf"], _list(_refer("Tensor"))]}
    answers.append(_object(model_name={"type": "string"}, outputs=_list(_refer("Tensor"))))
    if "rows" in taken:
        answers.append(_object(endpoint={"type": "string"}, version={"type": "string"}))
    for field in signature.inputs:
        if field.name in LANGUAGE_KEYS:
            # A conversation is a list of messages, anything else a text or texts; one text has one answer, not wrapped.
            taken[field.name] = _ANY
            answers.append(predictions(signature, value).get("items", _ANY))
    told = {"type": "object", "description": "what Python models get beside their inputs"}
    return schemas | {
        "Predictions": predictions(signature, value),
        "Tensor": _object(
            name={"type": "string"}, shape=_list({"type": "integer"}), datatype={"type": "string"}
        ),
        "ServiceInput": {
            "type": "object",
            "properties": {"params": told, "parameters": told},
            "oneOf": [{"required": [key], "properties": {key: schema}} for key, schema in taken.items()],
        },
        "ServiceOutput": {
            "description": f"Of {' and '.join(AZURE_FORMATS)} the bare list, of rows and of tensors as those say",
            "anyOf": answers,
        },
    }  # fmt: skip


def _by_rows(signature: Signature, value: Value) -> tuple[Document, Document]:
    """What each key takes, and the schemas that this refers to."""
    fields = signature.inputs
    row, columns = named(fields, 1, value), _columns(fields, value)
    if len(fields) == 1:
        listed = value(fields[0], 1, given=False)
        if len(fields[0].shape) == 2:
            # A matrix: columns by any name, in their order.
            row = {"type": "object", "minProperties": 1, "additionalProperties": value(fields[0], 2, given=False),
                   "properties": row["properties"]}  # fmt: skip
            columns = {"type": "object", "minProperties": 1, "properties": columns["properties"],
                       "additionalProperties": _list(value(fields[0], 2, given=False))}  # fmt: skip
    else:
        names = ", ".join(field.name for field in fields)
        listed = {"type": "array", "description": f"in this order: {names}", "items": _ANY,
                  "minItems": len(fields), "maxItems": len(fields)}  # fmt: skip
    schemas = {
        "Row": row,
        "Rows": _list({"anyOf": [_refer("Row"), listed]}, minItems=1),
        "Columns": columns,
        "Split": {
            "type": "object",
            "required": ["data"],
            "properties": {"columns": _list(_ANY), "index": _list(_ANY), "data": _list(_ANY, minItems=1)},
            "additionalProperties": False,
        },
    }
    rows, split = _refer("Rows"), _refer("Split")
    # Of the only input, one bare value is one row.
    several = {"anyOf": [_refer("Columns"), rows, *([value(fields[0], 1, given=False)] if len(fields) == 1 else [])]}
    taken = {key: {"anyOf": [split, *several["anyOf"]]} for key in AZURE_FORMATS} | {
        "dataframe_split": split, "dataframe_records": rows, "instances": rows, "inputs": several,
        "rows": _list(_refer("Row"), minItems=1),
    }  # fmt: skip
    return taken, schemas


def _whole(signature: Signature, value: Value) -> tuple[Document, Document]:
    """A model without rows takes its inputs whole."""
    whole = [named(signature.inputs, 0, value, required=True)]
    if len(signature.inputs) == 1:
        whole.append(value(signature.inputs[0], 0, given=False))
    return {key: {"anyOf": whole} for key in (*AZURE_FORMATS, "inputs")}, {}


def predictions(signature: Signature, value: Value) -> Document:
    """What `predictions` makes of the outputs: a list by rows, or each whole; the only one without its name."""
    outputs = signature.outputs
    by_rows = signature.batched and all(field.shape[:1] == (-1,) for field in outputs)
    one = value(outputs[0], int(by_rows), given=True)
    if len(outputs) > 1:
        one = _object(**{field.name: value(field, int(by_rows), given=True) for field in outputs})
    return _list(one) if by_rows else one


def named(fields: tuple[Field, ...], start: int, value: Value, *, required: bool = False) -> Document:
    """An object of inputs; without `required` the nullable ones may be left out."""
    needed = [field.name for field in fields if required or not field.nullable]
    return {
        "type": "object",
        **({"required": needed} if needed else {}),
        "properties": {field.name: value(field, start, given=False) for field in fields},
    }


def _columns(fields: tuple[Field, ...], value: Value) -> Document:
    """A list of values per input; one bare value is one row."""
    ones = {field.name: value(field, 1, given=False) for field in fields}
    return {
        "type": "object",
        "required": list(ones),
        "properties": {name: {"anyOf": [_list(one), one]} for name, one in ones.items()},
    }


def _object(**properties: Document) -> Document:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Document, **more: Any) -> Document:
    return {"type": "array", "items": items, **more}


def _refer(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}
