"""Classify and regress: examples of features in, labels with scores or one number each out."""

from __future__ import annotations

from typing import Any

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors
from penstock.protocols.form import NO_HEADERS, Form, Headers, ModelView
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.tfserving.first import first_reader
from penstock.protocols.tfserving.json_text import read_object, write
from penstock.protocols.tfserving.predict import check_signature_name
from penstock.protocols.tfserving.values import NamedReader

_SCORES = "probabilities"


class ClassifyCodec:
    """Answers each example with every class and its probability, in the order of the model's classes."""

    def __init__(self, view: ModelView) -> None:
        self._signature = view.signature
        self._reader = NamedReader(view.signature, text_only=view.text_only)
        scores = next((field for field in view.signature.outputs if field.name == _SCORES), None)
        self._classifies = scores is not None and len(scores.shape) == 2
        classes = view.signature.classes
        self._labels = None if classes is None else [str(label) for label in classes]

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput."""
        if not self._classifies:
            raise InvalidInput(
                "no-classification", "this model gives no `probabilities` of classes", hint="ask it with :predict"
            )
        return Call(*self._reader.rows(rows_of_examples(self._signature, read_object(body))))

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The answer; a label that the model does not tell is empty."""
        scores = outputs[_SCORES]
        labels = self._labels or [""] * scores.shape[1]
        result = [[list(pair) for pair in zip(labels, row, strict=True)] for row in scores.tolist()]
        return _answer(result, outputs)


class RegressCodec:
    """Answers each example with the one number that the model gives."""

    def __init__(self, view: ModelView) -> None:
        self._signature = view.signature
        self._reader = NamedReader(view.signature, text_only=view.text_only)
        outputs = view.signature.outputs
        self._regresses = len(outputs) == 1 and _is_number(outputs[0])

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput."""
        if not self._regresses:
            raise InvalidInput(
                "no-regression", "this model gives something else than one number per row", hint="ask it with :predict"
            )
        return Call(*self._reader.rows(rows_of_examples(self._signature, read_object(body))))

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The answer."""
        return _answer([float(value) for value in next(iter(outputs.values())).ravel().tolist()], outputs)


def rows_of_examples(signature: Signature, document: dict[str, Any]) -> list[Any]:
    """The rows in `examples`, each a feature's value or list by its name, with what they share in `context`.

    Raises InvalidInput.
    """
    check_signature_name(document)
    examples, context = document.get("examples"), document.get("context", {})
    if (
        type(examples) is not list
        or not all(type(example) is dict for example in examples)
        or type(context) is not dict
    ):
        raise InvalidInput("invalid-examples", "examples is not a list of objects, or context not an object")
    if not signature.batched:
        raise InvalidInput("no-rows", "this model does not take rows", hint="ask it with :predict and `inputs`")
    for number, example in enumerate(examples):
        twice = sorted(context.keys() & example.keys())
        if twice:
            raise InvalidInput(
                "repeated-feature", f"example {number} has {twice[0][:60]!r}, which the context has for all of them"
            )
    fields = {field.name: field for field in signature.inputs}
    return [
        {
            name: _feature(fields[name], value) if name in fields else value
            for name, value in (context | example).items()
        }
        for example in examples
    ]


def _feature(field: Field, value: Any) -> Any:
    """A feature as the row of a tensor: features are flat, and one value is the list of it."""
    inner = field.shape[1:]
    if not inner:
        return value[0] if type(value) is list and len(value) == 1 else value
    if len(inner) == 1 and type(value) is not list:
        return [value]
    for size in reversed(inner[1:]):
        if type(value) is not list or size < 1 or any(type(item) is list for item in value):
            return value
        value = [value[at : at + size] for at in range(0, len(value), size)]
    return value


def _is_number(field: Field) -> bool:
    return DTYPES[field.datatype].kind in "fiu" and field.shape in ((-1,), (-1, 1))


def _answer(result: list[Any], outputs: Tensors) -> tuple[bytes, bytes]:
    # The page says `result`, the server that it describes sends `results`: clients of either find theirs.
    return write({"results": result, "result": result}, outputs), JSON


CLASSIFY = Form("tf-classify", ClassifyCodec, reply_of, first_reader)
REGRESS = Form("tf-regress", RegressCodec, reply_of, first_reader)
