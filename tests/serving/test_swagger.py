"""The description of `/score` on a real node: in each version, and true of what `/score` takes and gives."""

import json

import jsonschema
import pytest
from tests.serving.nodes import RunningNode, document, endpoint

VERSIONS = {"": "2.0", "?version=2": "2.0", "?version=2.0": "2.0", "?version=3": "3.0.0", "?version=3.0": "3.0.0",
            "?version=3.1": "3.1.0"}  # fmt: skip
PERSON = {"income": 1.5, "age": 30, "city": "Oslo", "member": True, "ratio": 0.5}


@pytest.fixture(scope="module")
def described(tmp_path_factory, people):
    node = RunningNode(tmp_path_factory.mktemp("described"))
    node.publish(document(1, people=endpoint(people)))
    yield node.start()
    assert node.stop() == 0


@pytest.mark.parametrize("query", VERSIONS)
def test_each_version_says_what_score_takes_and_gives(described, query):
    status, headers, body = described.get(f"/swagger.json{query}")
    assert (status, headers["content-type"]) == (200, "application/json")
    found = json.loads(body)
    assert found.get("swagger", found.get("openapi")) == VERSIONS[query]
    assert found["info"]["title"] == "people"
    call = found["paths"]["/score"]["post"]
    assert call["operationId"] == "RunMLService"
    schemas = found["definitions"] if "swagger" in found else found["components"]["schemas"]
    refers = json.dumps(call)
    assert all(f"/{name}" in refers for name in ("ServiceInput", "ServiceOutput", "ErrorResponse"))
    sent = {"input_data": [PERSON, PERSON]}
    jsonschema.validate(sent, schemas["ServiceInput"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"input_data": [{**PERSON, "age": "old"}]}, schemas["ServiceInput"])
    income = schemas["ServiceInput"]["properties"]["input_data"]["items"]["properties"]["income"]
    null = {"2.0": {"type": "number", "x-nullable": True}, "3.0.0": {"type": "number", "nullable": True}}
    assert income == null.get(VERSIONS[query], {"type": ["number", "null"]})
    status, _, answer = described.post("/score", sent)
    assert status == 200
    jsonschema.validate(answer, schemas["ServiceOutput"])
    status, _, answer = described.post("/score", {"input_data": [{**PERSON, "age": "old"}]})
    assert status == 400
    jsonschema.validate(answer, schemas["ErrorResponse"])


@pytest.mark.parametrize("query", ["?version=1", "?version=x", "?version=3.2", "?version=%ff"])
def test_there_are_no_others(described, query):
    status, _, body = described.get(f"/swagger.json{query}")
    assert (status, json.loads(body)["code"]) == (404, "unknown-swagger-version")


def test_it_is_of_the_default_endpoint(node):
    status, _, body = node.get("/swagger.json")
    assert (status, json.loads(body)["code"]) == (400, "no-default-endpoint")
