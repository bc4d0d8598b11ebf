"""What a node answers, good and bad, through each of its doors: the Open Inference Protocol and the friendly form."""

import json

import pytest
from tests.serving.bundles import ELEMENTS, some
from tests.serving.doors import infer
from tests.serving.nodes import summing_body

from penstock.core.tensors import to_bytes

SUM = summing_body()
X = SUM["inputs"][0]
PERSON = {"income": 1.5, "age": 30, "city": "Oslo", "member": True, "ratio": 0.5}


def get(door, path):
    status, headers, body = door.call("GET", path)
    return status, headers, json.loads(body)


def column(name, datatype, *values, **more):
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": list(values), **more}


def table(**changes):
    columns = {
        "income": column("income", "FP64", 1.5), "age": column("age", "INT64", 30),
        "city": column("city", "BYTES", "Oslo"), "member": column("member", "BOOL", True),
        "ratio": column("ratio", "FP32", 0.5),
    }  # fmt: skip
    return {"inputs": [*{**columns, **changes}.values()]}


# ---- pages


def test_health_answers_a_body_and_the_status(door):
    assert get(door, "/v2/health/live")[::2] == (200, {"live": True})
    assert get(door, "/v2/health/ready")[::2] == (200, {"ready": True})
    assert get(door, "/v2/models/sum/ready")[::2] == (200, {"name": "sum", "ready": True})
    assert get(door, "/v2/models/sum/versions/2/ready")[::2] == (200, {"name": "sum", "ready": True})


def test_server_metadata(door):
    for path in ("/v2", "/v2/", "/"):
        status, headers, document = get(door, path)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert document["name"] == "penstock"
        assert "binary_tensor_data" in document["extensions"]
    assert "sum" in get(door, "/v2/models")[2]["models"]


def test_model_metadata(door):
    for path in ("/v2/models/sum", "/v2/models/sum/versions/1", "/v2/models/sum/"):
        _, _, document = get(door, path)
        assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        assert document["outputs"] == [{"name": "predictions", "datatype": "FP32", "shape": [-1]}]
        assert document["versions"] == ["1", "2"]
        assert document["platform"] == "penstock_onnx"
    columns = {tensor["name"]: tensor for tensor in get(door, "/v2/models/people")[2]["inputs"]}
    assert columns["city"]["parameters"] == {"categories": ["Bern", "Oslo", "Rome"]}
    assert columns["income"]["parameters"] == {"nullable": True}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/models/none", "unknown-endpoint"), ("/v2/models/none/ready", "unknown-endpoint"),
        ("/v2/models/sum/versions/3", "unknown-version"), ("/v2/models/sum/versions/3/ready", "unknown-version"),
        ("/v2/models/sum/versions//ready", "unknown-version"), ("/v3", "unknown-address"),
        ("/v2/models/sum/nothing", "unknown-address"), ("/v2/repository", "unknown-address"),
    ],
)  # fmt: skip
def test_pages_that_are_not_there(door, path, code):
    status, _, document = get(door, path)
    assert (status, document["code"]) == (404, code)
    assert document["error"]


# ---- calls


def test_an_answer_names_its_model_version_and_reason(door):
    status, headers, document = infer(
        door, "sum", {**SUM, "id": "mine"}, {"x-request-id": "r-1", "traceparent": "00-ab-cd-01"}
    )
    assert status == 200
    assert document == {
        "model_name": "sum", "model_version": "1", "id": "mine",
        "outputs": [{"name": "predictions", "datatype": "FP32", "shape": [1], "data": [110.0]}],
    }  # fmt: skip
    assert headers["penstock-version"] == "model/1"
    assert headers["penstock-arm"] == "arm-0"
    assert headers["penstock-reason"] == "weight"
    assert headers["x-request-id"] == "r-1"
    assert headers["traceparent"] == "00-ab-cd-01"


def test_request_ids_that_would_break_a_log_are_replaced(door):
    for bad in ("a b", 'x"y', "x" * 200):
        headers = infer(door, "sum", SUM, {"x-request-id": bad})[1]
        assert headers["x-request-id"] != bad


def test_a_pinned_version(door):
    for version, total in (("1", 110.0), ("2", 210.0)):
        body = json.dumps(SUM).encode()
        status, headers, answer = door.call("POST", f"/v2/models/sum/versions/{version}/infer", body)
        document = json.loads(answer)
        assert (status, document["model_version"], headers["penstock-reason"]) == (200, version, "version")
        assert document["outputs"][0]["data"] == [total]
    status, _, answer = door.call("POST", "/v2/models/sum/versions/9/infer", json.dumps(SUM).encode())
    assert (status, json.loads(answer)["code"]) == (404, "unknown-version")


def test_traffic_is_divided_by_weight(door):
    seen = [infer(door, "split", SUM)[2]["outputs"][0]["data"][0] for _ in range(60)]
    # 60 fair draws that all fall on one side: 2 ** -59.
    assert set(seen) == {110.0, 210.0}


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
def test_every_datatype_json_and_binary(door, datatype):
    values = some(datatype, (3, 2))
    raw = to_bytes(values)
    tensor = {"name": "x", "shape": [3, 2], "datatype": datatype}
    status, _, document = infer(door, f"same-{datatype}", {"inputs": [{**tensor, "data": values.ravel().tolist()}]})
    assert (status, document["outputs"][0]["data"]) == (200, values.ravel().tolist())
    head = json.dumps({
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    status, headers, answer = door.call(
        "POST", f"/v2/models/same-{datatype}/infer", head + raw, {"Inference-Header-Content-Length": len(head)}
    )
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    size = int(headers["inference-header-content-length"])
    assert answer[size:] == raw
    assert json.loads(answer[:size])["outputs"][0]["parameters"] == {"binary_data_size": len(raw)}


def test_raw_mode(door):
    raw = to_bytes(some("FP32", (1, 4)))
    status, headers, answer = door.call(
        "POST",
        "/v2/models/sum/infer",
        raw,
        {"Inference-Header-Content-Length": 0, "content-type": "application/octet-stream"},
    )
    assert status == 200
    assert len(answer) - int(headers["inference-header-content-length"]) == 4


def test_lossless_widening_and_fp64_to_fp32_are_done(door):
    for datatype in ("FP64", "FP16", "INT16", "UINT8", "BOOL"):
        data = [1, 0, 1, 1]
        assert infer(door, "sum", {"inputs": [{**X, "datatype": datatype, "data": data}]})[2]["outputs"][0]["data"] == [
            103.0
        ]


def test_integers_beyond_2_53_are_exact(door):
    values = [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
    document = infer(door, "vectors", {"inputs": [column("x", "INT64", *values)]})[2]
    assert document["outputs"][0]["data"] == values


def test_columns_and_nulls(door):
    status, _, document = infer(door, "people", table(income=column("income", "FP64", None)))
    outputs = {output["name"]: output["data"] for output in document["outputs"]}
    assert status == 200
    assert outputs == {
        "income_out": [None],
        "age_out": [30],
        "city_out": ["Oslo"],
        "member_out": [True],
        "ratio_out": [0.5],
    }
    assert infer(door, "people", table(age={**column("age", "INT64", 30), "shape": [1, 1]}))[0] == 200
    assert infer(door, "people", table(age=column("age", "INT8", 30)))[0] == 200


def test_a_model_without_rows(door):
    body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [4, 5, 6]]}]}
    assert infer(door, "fixed", body)[2]["outputs"][0]["shape"] == [2, 3]


def test_rows(door):
    body = json.dumps({"rows": [PERSON, {**PERSON, "income": None, "city": "Rome"}]}).encode()
    status, _headers, answer = door.call("POST", "/predict/people", body, {"x-request-id": "mine"})
    document = json.loads(answer)
    assert (status, document["id"], document["endpoint"], document["version"]) == (200, "mine", "people", "1")
    assert document["outputs"]["city_out"] == ["Oslo", "Rome"]
    assert document["outputs"]["income_out"] == [1.5, None]
    status, _, answer = door.call("POST", "/predict/sum", b'{"rows": [{"x": [1, 2, 3, 4]}]}')
    assert json.loads(answer)["predictions"] == [110.0]


def test_swapped_inputs_are_another_question_also_to_the_cache(door):
    a, b = column("a", "FP32", 5), column("b", "FP32", 3)
    for _ in range(3):
        for inputs, difference in (([a, b], 2.0), ([b, a], 2.0)):
            assert infer(door, "kept", {"inputs": inputs})[2]["outputs"][0]["data"] == [difference]
        swapped = [column("b", "FP32", 5), column("a", "FP32", 3)]
        assert infer(door, "kept", {"inputs": swapped})[2]["outputs"][0]["data"] == [-2.0]
    only = {"inputs": [a, b], "outputs": [{"name": "total"}]}
    assert [output["name"] for output in infer(door, "kept", only)[2]["outputs"]] == ["total"]


def test_deadlines(door):
    assert infer(door, "sum", SUM, {"penstock-timeout-ms": "5000"})[0] == 200
    assert infer(door, "sum", SUM, {"penstock-timeout-ms": "0"})[0] == 504
    for bad in ("-1", "1.5", "soon", "", "9" * 30):
        status, _, document = infer(door, "sum", SUM, {"penstock-timeout-ms": bad})
        assert (status, document["code"]) == (400, "invalid-timeout")


# ---- bad input: 4xx with a stable code, and the node answers correctly afterwards

OPEN = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":'
BAD = [
    ("none", SUM, 404, "unknown-endpoint"),
    ("sum", b"", 400, "invalid-json"),
    ("sum", b"\x00" * 100, 400, "invalid-json"),
    ("sum", b"\xff\xfe{}", 400, "invalid-json"),
    ("sum", b"[" * 500_000, 400, "invalid-json"),
    ("sum", b'{"a":' * 150_000, 400, "invalid-json"),
    ("sum", OPEN + b"[" * 500_000, 400, "invalid-json"),
    ("sum", OPEN + b"[" * 400_000 + b"]" * 400_000 + b"}]}", 400, "invalid-json"),
    ("sum", b'{"new":' + b"[" * 400_000 + b"]" * 400_000 + b',"inputs":[]}', 400, "invalid-json"),
    ("sum", {"inputs": [{**X, "name": "y"}]}, 400, "wrong-inputs"),
    ("sum", {"inputs": [X, X]}, 400, "duplicate-input"),
    ("sum", {"inputs": [X, {**X, "name": "y"}]}, 400, "wrong-inputs"),
    ("sum", {"inputs": []}, 400, "wrong-inputs"),
    ("sum", {"inputs": [{**X, "datatype": "FP128"}]}, 400, "unknown-datatype"),
    ("sum", {"inputs": [{**X, "datatype": "BF16"}]}, 400, "unknown-datatype"),
    ("sum", {"inputs": [{**X, "datatype": "INT64"}]}, 400, "wrong-datatype"),
    ("sum", {"inputs": [{**X, "datatype": "BYTES", "data": ["1", "2", "3", "4"]}]}, 400, "wrong-datatype"),
    ("vectors", {"inputs": [column("x", "FP32", 1)]}, 400, "wrong-datatype"),
    ("vectors", {"inputs": [column("x", "UINT64", 1)]}, 400, "wrong-datatype"),
    ("vectors", {"inputs": [column("x", "INT64", 2**63)]}, 400, "invalid-value"),
    ("vectors", {"inputs": [{**column("x", "INT64", 1), "shape": []}]}, 400, "wrong-shape"),
    ("vectors", {"inputs": [{**column("x", "INT64", 5), "data": 5}]}, 400, "invalid-value"),
    ("sum", {"inputs": [{**X, "shape": [4]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [1, 2, 2]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [2, 2]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [1, 5]}]}, 400, "wrong-count"),
    ("sum", {"inputs": [{**X, "shape": [2, 4]}]}, 400, "wrong-count"),
    ("sum", {"inputs": [{**X, "shape": [-1, 4]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [-1, -4]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [2**31, 2**31]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "shape": [0, 4], "data": []}]}, 400, "empty-batch"),
    ("sum", {"inputs": [{**X, "shape": [], "data": [1]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "data": [[1, 2], [3, 4]]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "data": [[1, 2, 3], [4]]}]}, 400, "wrong-shape"),
    ("sum", {"inputs": [{**X, "data": [1, 2, 3, "4"]}]}, 400, "invalid-value"),
    ("sum", {"inputs": [{**X, "data": [1, 2, 3, None]}]}, 400, "missing-value"),
    ("sum", {"inputs": [{**X, "data": [1, 2, 3, 1e39]}]}, 400, "invalid-value"),
    ("sum", json.dumps(SUM).replace("[1, 2, 3, 4]", "[1, 2, 3, NaN]").encode(), 400, "invalid-json"),
    ("sum", json.dumps(SUM).replace("[1, 2, 3, 4]", "[1, 2, 3, -Infinity]").encode(), 400, "invalid-json"),
    ("sum", json.dumps(SUM).replace("[1, 2, 3, 4]", "[1, 2, 3, 1e400]").encode(), 400, "invalid-json"),
    ("sum", json.dumps(SUM).replace('"name"', '"name": "z", "name"').encode(), 400, "duplicate-key"),
    ("sum", {**SUM, "outputs": [{"name": "scores"}]}, 400, "unknown-output"),
    ("people", table(city=column("city", "BYTES", "Paris")), 400, "unseen-category"),
    ("people", table(city=column("city", "BYTES", "oslo ")), 400, "unseen-category"),
    ("people", table(city=column("city", "BYTES", None)), 400, "missing-value"),
    ("people", table(age=column("age", "INT64", None)), 400, "invalid-value"),
    ("people", table(age=column("age", "INT64", 30, 31)), 400, "unequal-rows"),
    ("people", table(age=column("age", "FP64", 30.0)), 400, "wrong-datatype"),
    ("people", table(more=column("more", "FP64", 1.0)), 400, "wrong-inputs"),
    ("people", {"inputs": table()["inputs"][1:]}, 400, "wrong-inputs"),
    ("fixed", {"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32", "data": [1] * 6}]}, 400, "wrong-shape"),
    ("small", b" " * 2_001, 413, "body-too-large"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "document", "status", "code"), BAD)
def test_bad_input(door, endpoint, document, status, code):
    got, headers, answer = infer(door, endpoint, document)
    assert (got, answer["code"]) == (status, code), answer
    assert answer["error"]
    assert headers["content-type"] == "application/json"
    assert infer(door, "sum", SUM)[2]["outputs"][0]["data"] == [110.0]


BAD_ROWS = [
    ("people", {"rows": []}, "empty-batch"),
    ("people", {"rows": [{**PERSON, "city": "Paris"}]}, "unseen-category"),
    ("people", {"rows": [{**PERSON, "more": 1}]}, "invalid-rows"),
    ("people", {"rows": [{k: v for k, v in PERSON.items() if k != "age"}]}, "invalid-rows"),
    ("people", {"rows": [PERSON, {**PERSON, "age": "x"}]}, "invalid-rows"),
    ("people", json.dumps({"rows": [PERSON]}).replace("1.5", "NaN").encode(), "invalid-rows"),
    ("people", b"[" * 500_000, "invalid-rows"),
    ("sum", {"rows": [{"x": [1, 2, 3]}]}, "wrong-shape"),
    ("sum", {"rows": [{"x": [1, 2, 3, 4]}, {"x": [1]}]}, "wrong-shape"),
    ("fixed", {"rows": [{"x": [1]}]}, "no-rows"),
]


@pytest.mark.parametrize(("endpoint", "document", "code"), BAD_ROWS)
def test_bad_rows(door, endpoint, document, code):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    status, _, answer = door.call("POST", f"/predict/{endpoint}", body)
    assert (status, json.loads(answer)["code"]) == (400, code)


@pytest.mark.parametrize(
    ("length", "body", "code"),
    [
        ("abc", b"{}", "wrong-header-length"), ("-1", b"{}", "wrong-header-length"),
        ("1.0", b"{}", "wrong-header-length"),
        ("3", b"{}", "wrong-header-length"), ("9" * 20, b"{}", "wrong-header-length"), ("1", b"{}", "invalid-json"),
        ("0", b"\0" * 15, "wrong-binary-size"), ("0", b"", "wrong-binary-size"), ("", b"{}", "wrong-header-length"),
    ],
)  # fmt: skip
def test_header_lengths_that_lie(door, length, body, code):
    status, _, answer = door.call("POST", "/v2/models/sum/infer", body, {"Inference-Header-Content-Length": length})
    assert (status, json.loads(answer)["code"]) == (400, code)


@pytest.mark.parametrize("size", [15, 17, 0, -16, 2**62, "16", True])
def test_binary_sizes_that_lie(door, size):
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": len(head)}
    status, _, answer = door.call("POST", "/v2/models/sum/infer", head + b"\0" * 16, headers)
    assert (status, json.loads(answer)["code"]) == (400, "wrong-binary-size")


def test_text_that_is_not_utf8(door):
    raw = b"\x02\0\0\0\xff\xfe"
    tensor = {"name": "x", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps(
        {"inputs": [{**tensor, "shape": [1, 2], "parameters": {"binary_data_size": 2 * len(raw)}}]}
    ).encode()
    headers = {"Inference-Header-Content-Length": len(head)}
    status, _, answer = door.call("POST", "/v2/models/same-BYTES/infer", head + raw * 2, headers)
    assert (status, json.loads(answer)["code"]) == (400, "not-text")
    body = (
        json.dumps({"inputs": [{**tensor, "parameters": {}, "data": ["a", "b"]}]}).encode().replace(b'"b"', b'"\xff"')
    )
    status, _, answer = door.call("POST", "/v2/models/same-BYTES/infer", body)
    assert (status, json.loads(answer)["code"]) == (400, "invalid-json")


def test_metrics_are_read_by_prometheus_and_count_what_was_asked(door):
    from prometheus_client.parser import text_string_to_metric_families

    def requests():
        status, headers, body = door.call("GET", "/metrics")
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        found = {
            sample.labels["code"]: sample.value
            for sample in families["penstock_requests"].samples
            if sample.labels["endpoint"] == "pair" and sample.labels["arm"] == "arm-0"
        }
        return families, found

    infer(door, "pair", {"inputs": []})
    before = requests()[1]
    infer(door, "pair", {"inputs": [column("a", "FP32", 5), column("b", "FP32", 3)]})
    infer(door, "pair", {"inputs": []})
    families, after = requests()
    assert after["200"] == before.get("200", 0) + 1
    assert after["400"] == before["400"] + 1
    for name in (
        "request_duration_seconds",
        "batch_rows",
        "rows",
        "cache_hits",
        "waiting_rows",
        "load_seconds",
        "generation",
    ):
        assert f"penstock_{name}" in families
    counts = [
        s.value for s in families["penstock_request_duration_seconds"].samples if s.labels.get("endpoint") == "pair"
    ]
    assert counts[-1] >= 0


def test_log_lines_are_json_and_hold_no_inputs(node):
    secret = 987_654_321.125
    node.post("/v2/models/sum/infer", summing_body([secret, 0, 0, 0]), {"x-request-id": "logged"})
    node.post("/predict/people", {"rows": [{**PERSON, "city": "Secretville"}]}, {"x-request-id": "refused"})
    line = node.until_event("request", id="refused")
    assert (line["status"], line["endpoint"]) == (400, "people")
    line = node.until_event("request", id="logged")
    assert line["status"] == 200
    assert line["rows"] == 1
    assert line["duration_us"] > 0
    assert line["time"].endswith("Z")
    text = node.log_path.read_text()
    for word in ("987654321", "Secretville", "9.8765"):
        assert word not in text
