"""The protocol's extensions: classification, generate, statistics, and what the server says it can do."""

import json

import pytest
from tests.serving.nodes import summing_body


def post(door, path, body, headers=None):
    status, found, answer = door.call("POST", path, json.dumps(body).encode(), headers or {})
    return status, found, answer


def test_the_server_names_its_extensions(door):
    extensions = json.loads(door.call("GET", "/v2")[2])["extensions"]
    assert {"binary_tensor_data", "classification", "generate", "model_repository", "statistics"} <= set(extensions)


def classes_of(door, count, binary=False, rows=((0.25, 0.75), (0.5, -1.0))):
    body = {
        "inputs": [{"name": "x", "shape": [len(rows), 2], "datatype": "FP32", "data": rows}],
        "outputs": [{"name": "y", "parameters": {"classification": count, "binary_data": binary}}],
    }
    return post(door, "/v2/models/same-FP32/infer", body)


def test_the_largest_values_with_their_indices(door):
    status, _, answer = classes_of(door, 1)
    (found,) = json.loads(answer)["outputs"]
    assert (status, found["datatype"], found["shape"]) == (200, "BYTES", [2, 1])
    assert found["data"] == ["0.750000:1", "0.500000:0"]
    # More than there are is all of them; as raw bytes, too.
    (found,) = json.loads(classes_of(door, 99)[2])["outputs"]
    assert (found["shape"], found["data"][:2]) == ([2, 2], ["0.750000:1", "0.250000:0"])
    status, headers, answer = classes_of(door, 1, binary=True)
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert answer.endswith(b"\x0a\0\0\x000.500000:0")


@pytest.mark.parametrize("count", [0, -1, "1", 1.5, True])
def test_a_wrong_number_of_classes(door, count):
    status, _, answer = classes_of(door, count)
    assert (status, json.loads(answer)["code"]) == (400, "invalid-value")


def test_text_cannot_be_classified(door):
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]}],
            "outputs": [{"name": "y", "parameters": {"classification": 1}}]}  # fmt: skip
    status, _, answer = post(door, "/v2/models/same-BYTES/infer", body)
    assert (status, json.loads(answer)["code"]) == (400, "not-classifiable")


PERSON = {"income": None, "age": 31, "member": True, "ratio": 0.5}


def test_generate(door):
    status, _, answer = post(door, "/v2/models/people/generate", {"id": "7", **PERSON, "text_input": "Oslo"})
    assert status == 200
    assert json.loads(answer) == {
        "model_name": "people", "model_version": "1", "id": "7", "income_out": None, "age_out": 31,
        "text_output": "Oslo", "member_out": True, "ratio_out": 0.5,
    }  # fmt: skip
    status, headers, answer = post(door, "/v2/models/people/generate_stream", {**PERSON, "city": "Bern"})
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert answer.startswith(b"data: ")
    assert answer.endswith(b"\n\n")
    assert json.loads(answer[6:])["text_output"] == "Bern"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"age": 1},
        {**PERSON, "city": 5},
        {**PERSON, "city": "Bern", "id": 7},
        {**PERSON, "city": "Rome", "x": 1},
        {**PERSON, "city": "Bern", "parameters": []},
        {**PERSON, "city": "Atlantis"},
    ],
)
def test_what_is_no_row_to_generate_from(door, body):
    for verb in ("generate", "generate_stream"):
        status, _, answer = post(door, f"/v2/models/people/{verb}", body)
        assert (status, "code" in json.loads(answer)) == (400, True)
    assert (
        door.call(
            "POST",
            "/v2/models/people/generate",
            b'{"income": 1, "age": 1, "age": 2, "city": "Bern", "member": true, "ratio": 1}',
        )[0]
        == 400
    )


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"city": "Bern", "text_input": "Oslo"}, "duplicate-input"),
        ({"text_input": "Bern", "city": "Bern"}, "duplicate-input"),
        ({"city": "Bern", "parameters": {"t": [1]}}, "invalid-value"),
        ({"city": "Bern", "parameters": {"t": {}}}, "invalid-value"),
        ({"city": "Bern", "parameters": {"t": None}}, "invalid-value"),
    ],
)
def test_generate_is_as_strict_as_infer(door, more, code):
    for verb in ("generate", "generate_stream"):
        status, _, answer = post(door, f"/v2/models/people/{verb}", {**PERSON, **more})
        assert (status, json.loads(answer)["code"]) == (400, code)
    if "parameters" in more:
        body = summing_body([1, 2, 3, 4]) | {"parameters": more["parameters"]}
        assert post(door, "/v2/models/sum/infer", body)[0] == 400
    told = {"city": "Bern", "id": None, "parameters": {"t": 1, "u": "a", "v": 0.5, "w": True}}
    assert post(door, "/v2/models/people/generate", {**PERSON, **told})[0] == 200


def stats(door, path):
    status, _, answer = door.call("GET", path)
    assert status == 200
    return {(one["name"], one["version"]): one for one in json.loads(answer)["model_stats"]}


def test_statistics_count_what_was_answered(door):
    before = stats(door, "/v2/models/sum/stats")["sum", "1"]
    for _ in range(3):
        assert post(door, "/v2/models/sum/infer", summing_body([1, 2, 3, 4], [5, 6, 7, 8]))[0] == 200
    assert post(door, "/v2/models/sum/infer", {"inputs": []})[0] == 400
    after = stats(door, "/v2/models/sum/stats")["sum", "1"]
    assert after["inference_count"] - before["inference_count"] == 6
    assert 1 <= after["execution_count"] - before["execution_count"] <= 3
    said = [
        (one["success"]["count"], one["fail"]["count"]) for one in (before["inference_stats"], after["inference_stats"])
    ]
    assert (said[1][0] - said[0][0], said[1][1] - said[0][1]) == (3, 1)
    times = after["inference_stats"]
    assert times["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert times["compute_infer"]["count"] == after["execution_count"]
    assert set(stats(door, "/v2/models/sum/versions/2/stats")) == {("sum", "2")}
    everything = stats(door, "/v2/models/stats")
    assert ("people", "1") in everything and everything["sum", "1"] == after
    assert door.call("GET", "/v2/models/none/stats")[0] == 404
    assert door.call("GET", "/v2/models/sum/versions/9/stats")[0] == 404
