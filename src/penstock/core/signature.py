"""What a model takes and gives: named, typed, shaped tensors, and the pure check of a call against them."""

from __future__ import annotations

from typing import Literal

import msgspec

Scalar = bool | int | float | str


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One named input or output.

    `shape` has -1 for an axis that varies; the first axis is the rows when it is -1. `categories` are the values seen
    in the sample; `closed` says that the model cannot take another one, so the node refuses it instead of guessing.
    `integers` names the datatype of whole numbers that travel as FP64 because some are missing; a fraction, or one
    beyond that datatype, is no such number.
    `sensitive` marks a column whose values must never be stored outside the prediction log's own policy.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool = False
    categories: tuple[Scalar, ...] | None = None
    closed: bool = False
    sensitive: bool = False
    integers: str = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Inputs and outputs of a model.

    `layout` says how the inputs were given to the model in training, and so how a Python model gets them back:
    `matrix`, one input `x` of shape [-1, n]; `table`, one input of shape [-1] per column (a DataFrame);
    `tensors`, whatever an ONNX graph or a Python class declares. `classes` are a classifier's labels in the order of
    the columns of `probabilities`. `batched` is false for a model without a variable first axis.
    """

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    layout: Literal["matrix", "table", "tensors"]
    classes: tuple[Scalar, ...] | None = None
    batched: bool = True
