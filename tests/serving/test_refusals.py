"""Whatever a request is refused for, and however early, the refusal is in the form of the contract it was sent to.

The forms: OIP and TensorFlow Serving `{"error": text}`, OpenAI `{"error": {message, type, param, code}}`, MLflow
`{error_code, message}`, and text where the type of the body is wrong.
"""

import json

import pytest
from tests.serving.doors import AsgiDoor, NodeDoor
from tests.serving.nodes import RunningNode, document, endpoint, replies

from penstock.core.routes import Access, KeyEntry
from penstock.protocols.problems import reply_of
from penstock.security.keys import new_key
from penstock.serving.addresses import parse
from penstock.serving.contracts import FORMS, failure_of
from penstock.serving.http.door import HttpLimits

SECRET, KEY_ID, DIGEST = new_key()
KEY = {"authorization": f"Bearer {SECRET}"}
KEY_LINE = f"authorization: Bearer {SECRET}\r\n"
MOST_BYTES = 5_000
LARGE = b'{"model": "one", "x": "' + b"x" * MOST_BYTES + b'"}'
ONE, DEPLOYED, OPENAI = "/v1/models/one", "/v1/endpoints/1/deployedModels/2", "/openai/v1"
ENDPOINT, ADDRESS = "unknown-endpoint", "unknown-address"
# Each contract's form, a call of it, a page of it, and an address that leads nowhere, with the code and a method.
CONTRACTS = {
    "oip": ("usual", "/v2/models/one/infer", "/v2/models/one", ("/v2/models/none/infer", ENDPOINT, "POST")),
    "oip-generate": ("usual", "/v2/models/one/generate", "/v2/models", ("/v2/models/none/stats", ENDPOINT, "GET")),
    "rows": ("usual", "/predict/one", "/v2", ("/predict/none", ENDPOINT, "POST")),
    "tf-predict": ("usual", "/v1/models/one:predict", "/v1/models/one", ("/v1/models/none:predict", ENDPOINT, "POST")),
    "tf-classify": ("usual", f"{ONE}:classify", f"{ONE}/metadata", (f"{ONE}/labels/none", "unknown-label", "GET")),
    "vertex": ("usual", f"{DEPLOYED}:predict", DEPLOYED, ("/v1/endpoints/1", ADDRESS, "POST")),
    "openai": ("openai", "/v1/embeddings", "/v1/models", ("/openai/v1/models/none", ENDPOINT, "GET")),
    "openai-below": ("openai", f"{OPENAI}/embeddings", f"{OPENAI}/models/one", (f"{OPENAI}/none", ADDRESS, "POST")),
    "mlflow": ("mlflow", "/invocations", "/version", ("/invocations/none", ADDRESS, "POST")),
    "sagemaker": ("mlflow", "/models/one/invoke", "/models/one", ("/models/none/invoke", ENDPOINT, "POST")),
    "swagger": ("mlflow", "/score", "/swagger.json", ("/swagger.json?version=9", "unknown-swagger-version", "GET")),
    "azureml": ("mlflow", "/score", "/health", ("/score/none", ADDRESS, "GET")),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, summing_1):
    """A node and the ASGI adapter that ask for a key and take small bodies."""
    routes = document(1, one=endpoint(summing_1, limits={"max_body_bytes": MOST_BYTES}, default=True))
    access = Access(keys={KEY_ID: KeyEntry(digest=DIGEST, subject="somebody")})
    limits = HttpLimits(max_body_bytes=MOST_BYTES, max_head_bytes=2_000)
    made = [RunningNode(tmp_path_factory.mktemp(f"refusing-{at}"), http=limits) for at in range(2)]
    for one in made:
        one.publish(type(routes)(format=1, generation=1, endpoints=routes.endpoints, access=access))
    node, adapter = NodeDoor(made[0].start()), AsgiDoor(made[1].settings, made[1].log_path)
    yield {"node": node, "asgi": adapter}
    adapter.close()
    assert made[0].stop() == 0
    assert not made[0].events("internal-error") + made[1].events("internal-error")


@pytest.fixture(params=["node", "asgi"])
def door(request, guarded):
    return guarded[request.param]


def check(form, answer, status, code):
    got, headers, body = answer
    assert got == status, body
    if form == "mlflow" and status == 415:
        assert headers["content-type"].startswith("text/plain")
        assert body
        return
    assert headers["content-type"] == "application/json"
    said = json.loads(body)
    if form == "usual":
        assert (type(said["error"]), said["code"]) == (str, code)
    elif form == "openai":
        assert said.keys() == {"error"}
        assert said["error"].keys() == {"message", "type", "param", "code"}
        assert said["error"]["code"] == code
    else:
        assert said.keys() == {"error_code", "message", "code"}
        assert (said["error_code"].isupper(), said["code"]) == (True, code)


@pytest.fixture(params=CONTRACTS)
def contract(request):
    return CONTRACTS[request.param]


def test_without_a_key(door, contract):
    form, call, _, _ = contract
    for body in (b'{"model": "one"}', LARGE[: MOST_BYTES - 1]):
        answer = door.call("POST", call, body)
        check(form, answer, 401, "missing-key")
        assert answer[1]["www-authenticate"] == "Bearer"


def test_a_body_too_large(door, contract):
    form, call, _, _ = contract
    check(form, door.call("POST", call, LARGE, KEY), 413, "body-too-large")


def test_a_coding_that_is_not_known(door, contract):
    form, call, _, _ = contract
    answer = door.call("POST", call, b'{"model": "one"}', KEY | {"content-encoding": "br"})
    check(form, answer, 415, "unsupported-encoding")
    assert "gzip" in answer[1]["accept-encoding"]


def test_an_address_that_leads_nowhere(door, contract):
    form, _, _, (nowhere, code, method) = contract
    for path in (nowhere, nowhere + "?x=1", "http://host" + nowhere):
        if path.startswith("/") or isinstance(door, NodeDoor):
            check(form, door.call(method, path, b"", KEY), 404, code)


def test_another_method(door, contract):
    form, call, page, _ = contract
    for method, path, allowed in (("GET", call, "POST"), ("PATCH", page, "GET")):
        answer = door.call(method, path, b"", KEY)
        check(form, answer, 405, "wrong-method")
        assert allowed in answer[1]["allow"]


def test_what_is_no_request(guarded, contract):
    """After an answer that is owed the connection ends with a refusal in the form of the address it was for."""
    form, call, _, _ = contract
    sent = f"POST {call} HTTP/1.1\r\nhost: x\r\n"
    for rest, status, code in (
        ("host: y\r\n\r\n", 400, "conflicting-headers"),
        ("transfer-encoding: gzip, chunked\r\n\r\n", 501, "unknown-transfer-coding"),
        (f"{KEY_LINE}content-length: 20\r\n\r\nhalf", 400, "truncated-request"),
        (f"content-length: {MOST_BYTES + 1}\r\n\r\n", 413, "body-too-large"),
        ("content-length: x\r\n\r\n", 400, "invalid-http"),
    ):
        first, refused = replies(
            guarded["node"].node.raw(f"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n{sent}{rest}".encode())
        )
        assert first[0] == 200
        check(form, refused, status, code)


def test_of_no_contract_it_is_the_usual_form(door):
    for path in ("/", "/nothing", "/v1", "/openapi.json", "//", "/v1/"):
        assert failure_of(path.split("/")[1:]) is reply_of
    check("usual", door.call("POST", "/nothing", b"", KEY), 404, ADDRESS)


def test_the_table_of_failures_says_what_the_forms_say():
    for _, call, _, _ in CONTRACTS.values():
        assert FORMS[parse(call.encode()).verb].failure is failure_of(call.split("/")[1:]), call
