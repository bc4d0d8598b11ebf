"""Answers to tensors and predictions. Pure; what no node would answer raises Unavailable("unexpected-answer")."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np

from penstock.core.errors import PenstockError
from penstock.core.signature import Scalar
from penstock.core.tensors import Tensors, dtype_of, from_bytes
from penstock.sdk.messages import JSON_LENGTH, Incoming
from penstock.sdk.prediction import Prediction, Values
from penstock.sdk.problems import unexpected

Document = TypeVar("Document")


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class _Inferred(msgspec.Struct):
    outputs: list[_Tensor]
    model_version: str = ""
    id: str = ""


class _Predicted(msgspec.Struct):
    version: str
    id: str = ""
    predictions: list[Any] | None = None
    probabilities: list[Any] | None = None
    classes: tuple[Scalar, ...] | None = None
    outputs: dict[str, Any] = {}


class InputField(msgspec.Struct):
    """One input of a model as its metadata declares it."""

    name: str
    datatype: str
    shape: list[int]


class Inputs(msgspec.Struct):
    """What an endpoint's metadata says of what its model takes."""

    inputs: list[InputField]


class Classes(msgspec.Struct):
    """What an endpoint's metadata says of its model's classes."""

    classes: tuple[Scalar, ...] | None = None


class Models(msgspec.Struct):
    """The node's list of its endpoints."""

    models: list[str]


_decode_inferred = msgspec.json.Decoder(_Inferred).decode
_decode_predicted = msgspec.json.Decoder(_Predicted).decode


def decode_infer(answer: Incoming, address: str) -> tuple[Tensors, _Inferred]:
    """The output tensors of an infer answer and what it says about itself; arrays are read-only."""
    head, blocks = answer.body, memoryview(b"")
    try:
        if (length := answer.headers.get(JSON_LENGTH)) is not None:
            head, blocks = answer.body[: int(length)], memoryview(answer.body)[int(length) :]
        document = _decode_inferred(head)
        tensors: Tensors = {}
        for tensor in document.outputs:
            if (size := tensor.parameters.get("binary_data_size")) is not None:
                tensors[tensor.name] = from_bytes(blocks[:size], tensor.datatype, tensor.shape)
                blocks = blocks[size:]
            else:
                tensors[tensor.name] = np.array(tensor.data, dtype_of(tensor.datatype)).reshape(tensor.shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError, PenstockError):
        raise unexpected(answer, address) from None
    return tensors, document


def prediction_of_tensors(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in an infer answer, in arrays; it says nothing about classes."""
    tensors, document = decode_infer(answer, address)
    return _prediction(endpoint, answer, dict(tensors), document)


def prediction_of_columns(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in a JSON infer answer, in plain lists as for rows."""
    try:
        document = _decode_inferred(answer.body)
        lists = {
            tensor.name: np.array(tensor.data, object).reshape(tensor.shape).tolist() for tensor in document.outputs
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise unexpected(answer, address) from None
    return _prediction(endpoint, answer, lists, document)


def prediction_of_rows(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in an answer to rows, in plain lists."""
    try:
        said = _decode_predicted(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unexpected(answer, address) from None
    return Prediction(
        predictions=said.predictions,
        probabilities=said.probabilities,
        classes=said.classes,
        outputs=said.outputs,
        **_origin(endpoint, answer, said.version, said.id),
    )


def document_of(answer: Incoming, address: str, kind: type[Document]) -> Document:
    """The JSON object in an answer, of the kind that was asked for."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unexpected(answer, address) from None


def _prediction(endpoint: str, answer: Incoming, outputs: dict[str, Values], document: _Inferred) -> Prediction:
    return Prediction(
        predictions=outputs.pop("predictions", None),
        probabilities=outputs.pop("probabilities", None),
        outputs=outputs,
        **_origin(endpoint, answer, document.model_version, document.id),
    )


def _origin(endpoint: str, answer: Incoming, version: str, call_id: str) -> dict[str, Any]:
    headers = answer.headers
    return {
        "endpoint": endpoint,
        "version": headers.get("penstock-version", version),
        "arm": headers.get("penstock-arm", ""),
        "reason": headers.get("penstock-reason", ""),
        "id": call_id or headers.get("x-request-id", ""),
    }
