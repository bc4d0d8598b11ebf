"""Whatever the node's OpenAPI document allows, and what it does not: no 5xx but 503, and answers that fit."""

import json
import os

import hypothesis
import jsonschema
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from penstock.protocols.openapi import openapi

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "8"))
DOCUMENT = openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
MODELS = ["sum", "pair", "people", "same-BYTES", "same-INT64", "none"]


def checked(case, node, model, version):
    """Ask a node for what was generated, of a model that is there."""
    path = case.operation.path.replace("{model}", model).replace("{version}", version)
    body = (
        b"" if case.body is NOT_SET else case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    )
    status, _, answer = node.request(case.method, path, body, {"content-type": "application/json"})
    assert status < 500 or status == 503, (status, answer[:300])
    door = DOCUMENT["paths"][case.operation.path].get(case.method.lower())
    if door is None:
        assert status in (200, 405) if case.method == "HEAD" else status == 405
        return
    said = door["responses"]
    found = said.get(str(status), said["4XX"])["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(answer), {**found, "components": DOCUMENT["components"]})


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=COUNT, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_whatever_is_asked_is_answered_as_the_document_says(case, node):
    for model in MODELS:
        checked(case, node, model, "1")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
)


@hypothesis.settings(max_examples=COUNT * 20, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    st.sampled_from(["x", "a", "b", "other"]), st.lists(st.integers(-2, 4), max_size=3),
    st.sampled_from(["FP32", "FP64", "INT64", "BYTES", "BOOL", "none"]), VALUES, st.sampled_from(MODELS),
)  # fmt: skip
def test_tensors_near_to_what_a_model_takes(node, name, shape, datatype, data, model):
    body = {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}
    status, _, _ = node.request("POST", f"/v2/models/{model}/infer", json.dumps(body).encode())
    assert status < 500


def test_the_document_is_served_and_is_one(door):
    status, headers, answer = door.call("GET", "/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(answer) == json.loads(json.dumps(DOCUMENT))
    jsonschema.Draft202012Validator.check_schema({"components": DOCUMENT["components"]})


def test_a_wrong_answer_would_be_found():
    answer = {"model_name": "m", "model_version": 1, "outputs": []}
    schema = {"$ref": "#/components/schemas/InferResponse", "components": DOCUMENT["components"]}
    with pytest.raises(jsonschema.ValidationError, match="not of type 'string'"):
        jsonschema.validate(answer, schema)
