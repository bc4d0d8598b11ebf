"""TensorFlow Serving's contract on a real node, through each of its doors."""

import json

import numpy as np
import pytest
from onnx import helper
from tests.serving.bundles import SLOW, onnx_bundle, python_bundle
from tests.serving.load import Callers
from tests.serving.nodes import arm, document, endpoint, until

from penstock.core.routes import TOTAL_WEIGHT, Endpoint, Unit
from penstock.core.signature import Field, Signature
from penstock.serving.held_back import HeldBack, write_held_back

ROW = [1, 2, 3, 4]
PERSON = {"income": None, "age": 30, "city": "Oslo", "member": True, "ratio": 0.5}


def post(door, path, document, headers=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    status, got, answer = door.call("POST", f"/v1/models/{path}", body, headers)
    return status, got, json.loads(answer)


def get(door, path):
    status, _, body = door.call("GET", f"/v1/models/{path}")
    return status, json.loads(body)


def states(answer):
    return {one["version"]: one["state"] for one in answer["model_version_status"]}


def test_predict_by_rows_and_by_columns(door):
    assert post(door, "sum:predict", {"instances": [ROW, ROW]})[::2] == (200, {"predictions": [110.0, 110.0]})
    assert post(door, "sum:predict", {"inputs": {"x": [ROW]}})[::2] == (200, {"outputs": [110.0]})
    status, headers, answer = post(door, "pair:predict", {"instances": [{"a": 3, "b": 1}, {"a": 1, "b": 0.5}]})
    assert status == 200
    assert answer == {"predictions": [{"difference": 2.0, "total": 4.0}, {"difference": 0.5, "total": 1.5}]}
    assert headers["content-type"] == "application/json"
    assert headers["penstock-version"] == "model/1"
    assert post(door, "fixed:predict", {"inputs": [[1, 2, 3], [4, 5, 6]]})[2] == {"outputs": [[1, 2, 3], [4, 5, 6]]}


def test_the_version_in_the_address_answers(door):
    for version, value in (("1", 110.0), ("2", 210.0)):
        for path in (f"versions/{version}:predict", f"versions/{version}%3Apredict"):
            assert post(door, f"sum/{path}", {"instances": [ROW]})[2] == {"predictions": [value]}
    assert post(door, "sum/labels/arm-1:predict", {"instances": [ROW]})[2] == {"predictions": [210.0]}
    assert post(door, "sum/versions/3:predict", {"instances": [ROW]})[::2][0] == 404
    status, _, answer = post(door, "sum/labels/stable:predict", {"instances": [ROW]})
    assert (status, answer["code"]) == (404, "unknown-label")


def test_tokens_that_are_no_json(door):
    body = json.dumps({"instances": [PERSON]}).encode()
    status, _, text = door.call("POST", "/v1/models/people:predict", body)
    assert (status, text.count(b"NaN")) == (200, 1)
    assert np.isnan(json.loads(text)["predictions"][0]["income_out"])
    status, _, text = door.call("POST", "/v1/models/people:predict", body.replace(b"null", b"NaN"))
    assert (status, text.count(b"NaN")) == (200, 1)


def test_bytes_come_back_as_base64(door):
    answer = post(door, "same-BYTES:predict", {"instances": [["a", {"b64": "w7w="}]]})
    assert answer[2] == {"predictions": [["a", "ü"]]}


@pytest.mark.parametrize(
    ("path", "document", "status", "code"),
    [
        ("sum:predict", {"instances": [ROW], "inputs": [ROW]}, 400, "instances-or-inputs"),
        ("pair:predict", {"inputs": {"a": [1, 2], "b": [1]}}, 400, "unequal-rows"),
        ("pair:predict", {"instances": [{"a": 1, "b": 1}, {"a": 1}]}, 400, "wrong-inputs"),
        ("sum:predict", {"instances": [ROW], "signature_name": "no"}, 400, "unknown-signature"),
        ("sum:predict", b"", 400, "invalid-json"),
        ("sum:predict", b"[" * 100_000, 400, "invalid-json"),
        ("sum:predict", b'{"instances": [NaN, ' + b"[" * 100_000, 400, "invalid-json"),
        ("fixed:predict", {"instances": [1]}, 400, "invalid-rows"),
        ("no:predict", {"instances": [ROW]}, 404, "unknown-endpoint"),
        ("sum:explain", {"instances": [ROW]}, 404, "unknown-address"),
        ("pair:classify", {"examples": [{"a": 1, "b": 2}]}, 400, "no-classification"),
        ("pair:regress", {"examples": [{"a": 1, "b": 2}]}, 400, "no-regression"),
        ("sum:regress", {"examples": [{"x": [1]}]}, 400, "wrong-shape"),
    ],
)
def test_failures_are_an_error_text(door, path, document, status, code):
    got, _, answer = post(door, path, document)
    assert (got, answer["code"]) == (status, code)
    assert isinstance(answer["error"], str) and answer["error"]


def test_regress(door):
    answer = post(door, "sum:regress", {"context": {"x": ROW}, "examples": [{}, {}]})
    assert answer[2]["results"] == answer[2]["result"] == [110.0, 110.0]


def test_methods(door):
    assert door.call("GET", "/v1/models/sum:predict")[0] == 405
    assert door.call("POST", "/v1/models/sum", b"{}")[0] == 405


def test_the_root_is_alive(door):
    """KServe's first protocol asks there; the page also tells what `/v2` does."""
    root, server = (json.loads(door.call("GET", path)[2]) for path in ("/", "/v2"))
    assert root == {**server, "status": "alive"}


def test_status(door):
    status, answer = get(door, "sum")
    assert status == 200
    assert answer == {
        "model_version_status": [
            {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            for version in ("1", "2")
        ],
        "id": "sum", "object": "model", "created": 0, "owned_by": "penstock", "name": "sum", "ready": True,
    }  # fmt: skip
    assert states(get(door, "sum/versions/2")[1]) == {"2": "AVAILABLE"}
    assert states(get(door, "sum/labels/arm-1")[1]) == {"2": "AVAILABLE"}
    for path, code in (
        ("no", "unknown-endpoint"),
        ("sum/versions/3", "unknown-version"),
        ("sum/labels/x", "unknown-label"),
    ):
        assert get(door, path)[0] == 404
        assert get(door, path)[1]["code"] == code


def test_metadata(door):
    status, answer = get(door, "pair/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "pair", "signature_name": "", "version": "1"}
    definition = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert list(definition["inputs"]) == ["a", "b"]
    assert definition["outputs"]["total"]["dtype"] == "DT_FLOAT"
    assert get(door, "sum/versions/2/metadata")[1]["model_spec"]["version"] == "2"
    assert get(door, "sum/labels/arm-1/metadata")[1]["model_spec"]["version"] == "2"
    assert get(door, "sum/labels/no/metadata")[0] == 404


def test_classify(make_node, folder):
    x = Field(name="x", datatype="FP32", shape=(-1, 2))
    outputs = (Field(name="probabilities", datatype="FP32", shape=(-1, 2)),)
    signature = Signature(inputs=(x,), outputs=outputs, layout="matrix", classes=("no", "yes"))
    inputs = {"x": np.array([[1, 2], [3, 4]], np.float32)}
    classifier = onnx_bundle(
        folder / "classifier", signature, [helper.make_node("Identity", ["x"], ["probabilities"])], inputs
    )
    node = make_node()
    node.publish(document(1, c=endpoint(classifier)))
    node.start()
    status, _, answer = node.post("/v1/models/c:classify", {"examples": [{"x": [0.25, 0.75]}]})
    assert (status, answer["results"]) == (200, [[["no", 0.25], ["yes", 0.75]]])
    assert node.post("/v1/models/c:classify", {"examples": [{"x": [0.25]}]})[0] == 400


def test_the_state_of_each_version_is_told(make_node, folder, summing_1):
    node = make_node()
    node.publish(document(1, sum=Endpoint(arms=(arm(summing_1, 1),))))
    node.start()
    broken = arm(summing_1, 2)
    broken = type(broken)(name="main", version="model/2", bundle="sha256:" + "0" * 64, uri="/nowhere", weight=10_000)
    node.publish(document(2, sum=Endpoint(arms=(broken,)), other=Endpoint(arms=(broken,))))
    node.until_event("routes-applied", generation=2)
    said = json.loads(node.get("/v1/models/sum")[2])
    assert states(said) == {"2": "END", "1": "AVAILABLE"}
    assert "unknown-bundle" in said["model_version_status"][0]["status"]["error_message"]
    # Never served, and still told of.
    other = json.loads(node.get("/v1/models/other")[2])
    assert (states(other), other["ready"]) == ({"2": "END"}, False)
    write_held_back(
        node.settings.state,
        {
            "sum": {"3": HeldBack(state="LOADING")},
            "new": {"1": HeldBack(state="END", problem="no model", kind="invalid")},
        },
    )
    assert states(json.loads(node.get("/v1/models/sum")[2]))["3"] == "LOADING"
    new = json.loads(node.get("/v1/models/new")[2])
    assert new["model_version_status"] == [
        {"version": "1", "state": "END", "status": {"error_code": "INVALID_ARGUMENT", "error_message": "no model"}}
    ]
    assert new["ready"] is False


def test_a_version_that_still_answers_is_unloading(make_node, folder, summing_1, tmp_path):
    slow = python_bundle(tmp_path / "slow-bundle", SLOW.format(folder=str(tmp_path)))
    node = make_node()
    node.publish(document(1, sum=endpoint(slow)))
    node.start()
    with Callers(node, "/v1/models/sum:predict", lambda number: {"instances": [[7, 0, 0, 0]]}) as callers:
        until((tmp_path / "begun").exists)
        node.publish(document(2, sum=Endpoint(arms=(arm(summing_1, 2),))))
        until(lambda: states(json.loads(node.get("/v1/models/sum")[2])) == {"1": "UNLOADING", "2": "AVAILABLE"})
        (tmp_path / "go-on").touch()
        until(lambda: states(json.loads(node.get("/v1/models/sum")[2])) == {"2": "AVAILABLE"})
    assert not callers.errors
    assert callers.statuses() == {200}


def test_who_it_sticks_to_is_read_from_the_body(make_node, pair):
    half = TOTAL_WEIGHT // 2
    node = make_node()
    node.publish(document(1, pair=endpoint(pair, pair, weights=[half, half], unit=Unit(field="a"))))
    node.start()
    for a in range(10):
        asked = [
            ("/v1/models/pair:predict", {"instances": [{"a": a, "b": 1}]}),
            ("/v1/models/pair:predict", {"inputs": {"a": [a], "b": [1]}}),
            ("/predict/pair", {"rows": [{"a": a, "b": 1}]}),
        ]
        assert len({node.post(path, body)[1]["penstock-arm"] for path, body in asked}) == 1
