"""The description of `/score` for models without rows, and for those of language, by what the codec takes and gives."""

import json

import jsonschema
import numpy as np
import pytest

from penstock.core.signature import Field, Signature
from penstock.protocols.azureml.score import SCORE
from penstock.protocols.azureml.swagger import swagger
from penstock.protocols.form import ModelView

ANSWER = Field(name="y", datatype="BYTES", shape=(-1,))
CHAT, PROMPT = (
    Signature(inputs=(Field(name=name, datatype="BYTES", shape=(-1,)),), outputs=(ANSWER,), layout="tensors")
    for name in ("messages", "prompt")
)
WHOLE = Signature(
    inputs=(Field(name="x", datatype="FP32", shape=(2, 2)),),
    outputs=(Field(name="y", datatype="FP32", shape=()),),
    layout="tensors",
    batched=False,
)
TEXT, NUMBER = {"y": np.array(["hello"], object)}, {"y": np.array(np.nan, np.float32)}
X = [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("signature", "document", "outputs"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hello"}], "temperature": 0.5}, TEXT),
        (PROMPT, {"prompt": "hello"}, TEXT),
        (PROMPT, {"prompt": ["hello"]}, TEXT),
        (PROMPT, {"instances": ["hello"]}, TEXT),
        (WHOLE, {"input_data": X}, NUMBER),
        (WHOLE, {"data": {"x": X}}, NUMBER),
        (WHOLE, {"inputs": {"x": X}}, NUMBER),
        (WHOLE, {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": X}]}, NUMBER),
    ],
)
def test_what_is_taken_and_given_is_described(signature, document, outputs):
    codec = SCORE.codec(ModelView("m", "1", signature))
    call = codec.decode(json.dumps(document).encode(), {})
    answer = json.loads(codec.encode(call, outputs)[0])
    found = swagger("3.1", "m", "1", signature)
    for name, value in (("ServiceInput", document), ("ServiceOutput", answer)):
        jsonschema.validate(value, {**found, "$ref": f"#/components/schemas/{name}"})


@pytest.mark.parametrize("document", [{}, {"prompt": "hello"}, {"instances": [X]}, {"inputs": {}}, {"data": ["a"]}])
def test_what_a_model_without_rows_does_not_take(document):
    found = swagger("3.1", "m", "1", WHOLE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, {**found, "$ref": "#/components/schemas/ServiceInput"})
