"""Classify and regress."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.protocols.form import ModelView
from penstock.protocols.tfserving.examples import ClassifyCodec, RegressCodec

INPUTS = (
    Field(name="age", datatype="FP64", shape=(-1,)),
    Field(name="city", datatype="BYTES", shape=(-1,)),
)
PROBABILITIES = Field(name="probabilities", datatype="FP64", shape=(-1, 2))
NUMBER = Field(name="predictions", datatype="FP32", shape=(-1,))


def view(*outputs, inputs=INPUTS, **rules):
    return ModelView("m", "1", Signature(inputs=inputs, outputs=outputs, layout="tensors", **rules))


CLASSIFY = ClassifyCodec(view(NUMBER, PROBABILITIES, classes=(0, "yes")))
REGRESS = RegressCodec(view(NUMBER))


def decoded(codec, document):
    return codec.decode(json.dumps(document).encode())


def code_of(codec, document):
    with pytest.raises(InvalidInput) as refusal:
        decoded(codec, document)
    return refusal.value.code


def test_classes_with_their_scores():
    call = decoded(CLASSIFY, {"examples": [{"age": 1, "city": "Bern"}, {"age": [2.5], "city": {"b64": "T3Nsbw=="}}]})
    assert call.inputs["age"].tolist() == [1, 2.5]
    assert call.inputs["city"].tolist() == ["Bern", "Oslo"]
    body, _ = CLASSIFY.encode(call, {"probabilities": np.array([[0.25, 0.75], [1, np.nan]])})
    answer = json.loads(body)
    assert answer["results"][0] == answer["result"][0] == [["0", 0.25], ["yes", 0.75]]
    assert body.count(b'["yes",NaN]') == 2


def test_scores_without_labels():
    codec = ClassifyCodec(view(PROBABILITIES))
    body, _ = codec.encode(decoded(codec, {"examples": [{"age": 1, "city": ""}]}), {"probabilities": np.ones((1, 2))})
    assert json.loads(body)["results"] == [[["", 1.0], ["", 1.0]]]


@pytest.mark.parametrize("values", [np.array([1, 2]), np.array([[1.0], [2.0]], np.float32)])
def test_one_number_each(values):
    call = decoded(REGRESS, {"signature_name": "serving_default", "examples": [{"age": 1, "city": "B"}] * 2})
    body, _ = REGRESS.encode(call, {"predictions": values})
    assert body == b'{"results":[1.0,2.0],"result":[1.0,2.0]}'


def test_what_the_context_says_goes_for_all():
    call = decoded(REGRESS, {"context": {"city": "Bern"}, "examples": [{"age": 1}, {"age": 2}]})
    assert call.inputs["city"].tolist() == ["Bern", "Bern"]
    repeated = {"context": {"city": "Bern"}, "examples": [{"age": 1}, {"age": 2, "city": "Oslo"}]}
    assert code_of(REGRESS, repeated) == "repeated-feature"


def test_a_flat_feature_has_the_shape_of_its_input():
    inputs = (Field(name="grid", datatype="FP32", shape=(-1, 2, 2)), Field(name="one", datatype="INT64", shape=(-1, 1)))
    codec = RegressCodec(view(NUMBER, inputs=inputs))
    call = decoded(codec, {"examples": [{"grid": [1, 2, 3, 4], "one": 5}, {"grid": [[5, 6], [7, 8]], "one": [6]}]})
    assert call.inputs["grid"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert call.inputs["one"].tolist() == [[5], [6]]
    assert code_of(codec, {"examples": [{"grid": [1, 2, 3], "one": 5}]}) == "wrong-shape"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, "invalid-examples"), ({"examples": {}}, "invalid-examples"), ({"examples": [1]}, "invalid-examples"),
        ({"examples": [{"age": 1, "city": "a"}], "context": []}, "invalid-examples"),
        ({"examples": []}, "empty-batch"), ({"examples": [{}]}, "wrong-inputs"),
        ({"examples": [{"age": 1}]}, "wrong-inputs"), ({"examples": [{"age": 1, "city": "a", "b": 1}]}, "wrong-inputs"),
        ({"examples": [{"age": [1, 2], "city": "a"}]}, "invalid-rows"),
        ({"examples": [{"age": "1", "city": "a"}]}, "invalid-rows"),
        ({"examples": [{"age": 1, "city": "a"}], "signature_name": "regress"}, "unknown-signature"),
    ],
)  # fmt: skip
def test_what_is_refused(document, code):
    assert code_of(REGRESS, document) == code
    assert code_of(CLASSIFY, document) == code


def test_a_model_that_does_something_else():
    example = {"examples": [{"age": 1, "city": "a"}]}
    assert code_of(ClassifyCodec(view(NUMBER)), example) == "no-classification"
    text = Field(name="predictions", datatype="BYTES", shape=(-1,))
    for outputs in ((NUMBER, PROBABILITIES), (PROBABILITIES,), (text,)):
        assert code_of(RegressCodec(view(*outputs)), example) == "no-regression"
    fixed = RegressCodec(view(NUMBER, inputs=(Field(name="x", datatype="FP32", shape=(2,)),), batched=False))
    assert code_of(fixed, {"examples": [{"x": [1, 2]}]}) == "no-rows"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
FEATURES = st.dictionaries(st.sampled_from(["age", "city", "b64"]), LEAVES | st.lists(LEAVES, max_size=2), max_size=3)


@given(st.sampled_from([CLASSIFY, REGRESS]), st.lists(FEATURES, max_size=3), FEATURES | LEAVES)
def test_no_document_makes_decoding_fail_in_another_way(codec, examples, context):
    with contextlib.suppress(InvalidInput):
        decoded(codec, {"examples": examples, "context": context})
