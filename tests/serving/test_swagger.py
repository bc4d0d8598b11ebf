"""The description of `/score` on a real node: in each version, and true of what `/score` takes and gives."""

import json

import jsonschema
import pytest
from tests.serving.nodes import RunningNode, document, endpoint

VERSIONS = {"": "2.0", "?version=2": "2.0", "?version=2.0": "2.0", "?version=3": "3.0.0", "?version=3.0": "3.0.0",
            "?version=3.1": "3.1.0"}  # fmt: skip
SPLIT = {"columns": ["city", "income", "age", "member", "ratio"], "index": [7, 8],
         "data": [["Oslo", None, 30, 1, 0.5], ["Bern", 2.5, 31, False, 1.5]]}  # fmt: skip
PERSON = {"income": 1.5, "age": 30, "city": "Oslo", "member": True, "ratio": 0.5}


@pytest.fixture(scope="module")
def described(tmp_path_factory, people):
    node = RunningNode(tmp_path_factory.mktemp("described"))
    node.publish(document(1, people=endpoint(people)))
    yield node.start()
    assert node.stop() == 0


def checker(found, name):
    """Validates against a schema of the document; null is let through as each version of Swagger says it."""
    found = null_in_types(found)
    place = "definitions" if "swagger" in found else "components/schemas"
    return jsonschema.Draft202012Validator({**found, "$ref": f"#/{place}/{name}"}).validate


def null_in_types(value):
    if isinstance(value, list):
        return [null_in_types(one) for one in value]
    if not isinstance(value, dict):
        return value
    value = {key: null_in_types(one) for key, one in value.items()}
    if value.get("x-nullable") is True or value.get("nullable") is True:
        value["type"] = [value["type"], "null"]
    return value


def description(node, query=""):
    status, headers, body = node.get(f"/swagger.json{query}")
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.loads(body)


@pytest.mark.parametrize("query", VERSIONS)
def test_each_version_says_what_score_takes_and_gives(described, query):
    found = description(described, query)
    assert found.get("swagger", found.get("openapi")) == VERSIONS[query]
    assert found["info"]["title"] == "people"
    call = found["paths"]["/score"]["post"]
    assert call["operationId"] == "RunMLService"
    refers = json.dumps(call)
    assert all(f"/{name}" in refers for name in ("ServiceInput", "ServiceOutput", "ErrorResponse"))
    sent = {"input_data": [PERSON, {**PERSON, "income": None}]}
    checker(found, "ServiceInput")(sent)
    with pytest.raises(jsonschema.ValidationError):
        checker(found, "ServiceInput")({"input_data": [{**PERSON, "age": "old"}]})
    status, _, answer = described.post("/score", sent)
    assert (status, answer[1]["income_out"]) == (200, None)
    checker(found, "ServiceOutput")(answer)
    with pytest.raises(jsonschema.ValidationError):
        checker(found, "ServiceOutput")([{**answer[0], "age_out": "old"}])
    status, _, answer = described.post("/score", {"input_data": [{**PERSON, "age": "old"}]})
    assert status == 400
    checker(found, "ErrorResponse")(answer)


def test_swagger_2_says_in_words_what_it_has_no_schema_for(described):
    schemas = description(described)["definitions"]
    assert "dataframe_split" in schemas["ServiceInput"]["description"]
    assert "predictions" in schemas["ServiceOutput"]["description"]
    columns = schemas["ServiceInput"]["properties"]["input_data"]["items"]["properties"]
    assert columns["income"] == {"type": "number", "x-nullable": True}
    assert "b64" in columns["city"]["description"]
    # No name of OpenAPI 3 alone.
    assert not any(word in json.dumps(schemas) for word in ('"oneOf"', '"anyOf"', '"nullable"', '"null"'))


def forms(rows, columns, split):
    """The same call in each form."""
    lists = split["data"]
    for key in ("input_data", "data"):
        for value in (split, columns, rows, lists):
            yield {key: value}
    for key, value in (
        ("dataframe_split", split), ("dataframe_split", {"data": lists}), ("dataframe_records", rows),
        ("instances", rows), ("instances", lists), ("inputs", columns), ("inputs", rows), ("inputs", lists),
    ):  # fmt: skip
        yield {key: value}
    yield {"instances": rows, "params": {"k": [1]}}


@pytest.mark.parametrize("query", ["?version=3", "?version=3.1"])
def test_the_traffic_of_every_form_is_as_described(described, query):
    found = description(described, query)
    takes, gives = checker(found, "ServiceInput"), checker(found, "ServiceOutput")
    ordered = {**SPLIT, "columns": list(PERSON),
               "data": [[None, 30, "Oslo", 1, 0.5], [2.5, 31, {"b64": "QmVybg=="}, False, 1.5]]}  # fmt: skip
    rows = [dict(zip(PERSON, row, strict=True)) for row in ordered["data"]]
    columns = {name: [row[name] for row in rows] for name in PERSON}
    bodies = [*forms(rows, columns, ordered), {"data": SPLIT}, {"inputs": {**PERSON, "more": 1}}, {"rows": [PERSON]},
              {"instances": [PERSON, {name: PERSON[name] for name in PERSON if name != "income"}]}]  # fmt: skip
    shapes = {"income": "FP64", "age": "INT64", "city": "BYTES", "member": "BOOL", "ratio": "FP32"}
    bodies.append({"inputs": [{"name": name, "shape": [1], "datatype": kind, "data": [PERSON[name]]}
                              for name, kind in shapes.items()]})  # fmt: skip
    for body in bodies:
        takes(body)
        status, _, answer = described.post("/score", body)
        assert status == 200, (body, answer)
        gives(answer)
    for body in (
        {}, {"input_data": 5}, {"instances": [PERSON], "inputs": [PERSON]}, {"instances": []}, {"instances": [[1]]},
        {"input_data": [{**PERSON, "member": 2}]}, {"input_data": [{**PERSON, "city": {"b64": 5}}]},
        {"dataframe_split": {"columns": []}},
    ):  # fmt: skip
        assert described.post("/score", body)[0] == 400
        with pytest.raises(jsonschema.ValidationError):
            takes(body)


@pytest.fixture(scope="module", params=["FP32", "BYTES", "BOOL", "sum"])
def single(request, tmp_path_factory, identities, summing_1):
    node = RunningNode(tmp_path_factory.mktemp("single"))
    node.publish(document(1, one=endpoint(summing_1 if request.param == "sum" else identities[request.param])))
    yield node.start(), request.param
    assert node.stop() == 0


@pytest.mark.parametrize("query", ["?version=3", "?version=3.1"])
def test_a_model_of_one_matrix_has_its_columns_by_any_name(single, query):
    node, kind = single
    found = description(node, query)
    takes, gives = checker(found, "ServiceInput"), checker(found, "ServiceOutput")
    one, two = {"BYTES": ("a", "b"), "BOOL": (True, 0)}.get(kind, (1.5, -2))
    names = ["a", "b", "c", "d"] if kind == "sum" else ["a", "b"]
    listed = [[one, two, two, one][: len(names)], [two, two, one, one][: len(names)]]
    rows = [dict(zip(names, row, strict=True)) for row in listed]
    columns = {name: [row[name] for row in rows] for name in names}
    split = {"columns": names, "index": [0, 1], "data": listed}
    for body in (
        *forms(rows, columns, split), {"instances": [{"x": row} for row in listed]}, {"inputs": {"x": listed}},
        {"rows": [{"x": row} for row in listed]},
    ):  # fmt: skip
        takes(body)
        status, _, answer = node.post("/score", body)
        assert status == 200, (body, answer)
        gives(answer)


@pytest.mark.parametrize("query", ["?version=1", "?version=x", "?version=3.2", "?version=%ff"])
def test_there_are_no_others(described, query):
    status, _, body = described.get(f"/swagger.json{query}")
    assert (status, json.loads(body)["code"]) == (404, "unknown-swagger-version")


def test_it_is_of_the_default_endpoint(node):
    status, _, body = node.get("/swagger.json")
    assert (status, json.loads(body)["code"]) == (400, "no-default-endpoint")
