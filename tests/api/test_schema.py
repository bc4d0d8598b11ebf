"""Whatever the OpenAPI document allows to be asked, with a key of each role: no 5xx, and nothing forbidden succeeds."""

import json
import os
import urllib.request

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import GenerationMode
from tests.api.conftest import Api, Up, spec

from penstock.api.app import build_app
from penstock.security.identity import ROLES
from penstock.security.permissions import LEAST_ROLE

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "1"))
SCHEMA = schemathesis.openapi.from_dict(build_app(None).openapi())
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
# What each door needs; one that is new and not here fails the test below.
NEEDS = {
    ("GET", "/v1/models"): "read",
    ("GET", "/v1/models/{model}/versions"): "read",
    ("POST", "/v1/models/{model}/versions"): "register",
    ("GET", "/v1/models/{model}/versions/{number}"): "read",
    ("PATCH", "/v1/models/{model}/versions/{number}"): "register",
    ("GET", "/v1/models/{model}/aliases"): "read",
    ("PUT", "/v1/models/{model}/aliases/{alias}"): "register",
    ("GET", "/v1/versions"): "read",
    ("GET", "/v1/audit"): "audit",
    ("GET", "/v1/audit/verification"): "audit",
    ("GET", "/v1/gate-files/{digest}"): "check",
    ("PUT", "/v1/gate-files/{digest}"): "check",
    ("POST", "/v1/checks"): "check",
    ("POST", "/v1/plan"): "read",
    ("POST", "/v1/apply"): "apply",
    ("GET", "/v1/operations"): "read",
    ("GET", "/v1/operations/{number}"): "read",
    ("GET", "/v1/operations/{number}/report"): "read",
    ("GET", "/v1/models/{model}/versions/{number}/reports"): "read",
    ("GET", "/v1/generations"): "read",
    ("GET", "/v1/generations/{generation}/convergence"): "read",
    ("GET", "/v1/spec"): "read",
    ("GET", "/v1/status"): "read",
    ("GET", "/v1/nodes"): "read",
    ("DELETE", "/v1/nodes/{name}"): "apply",
    ("GET", "/v1/nodes/{name}/routes"): "apply",
    ("POST", "/v1/nodes/{name}/report"): "apply",
    ("GET", "/v1/keys"): "manage-keys",
    ("POST", "/v1/keys"): "manage-keys",
    ("DELETE", "/v1/keys/{key_id}"): "manage-keys",
    ("POST", "/v1/keys/{key_id}/rotate"): "manage-keys",
    ("GET", "/v1/approvals"): "read",
    ("GET", "/v1/approvals/{number}"): "read",
    ("POST", "/v1/approvals/{number}/approve"): "approve",
    ("POST", "/v1/approvals/{number}/refuse"): "approve",
    ("POST", "/v1/outcomes"): "outcomes",
    ("GET", "/v1/rollouts"): "read",
    ("GET", "/v1/rollouts/{number}"): "read",
    ("GET", "/v1/rollouts/{number}/events"): "read",
    ("GET", "/v1/rollouts/{number}/report"): "apply",
    ("POST", "/v1/rollouts/{number}/{command}"): "apply",
    ("POST", "/v1/endpoints/{endpoint}/rollout"): "apply",
    ("POST", "/v1/endpoints/{endpoint}/retry"): "apply",
    ("POST", "/v1/endpoints/{endpoint}/rollback"): "apply",
    ("GET", "/v1/endpoints/{endpoint}/releases"): "read",
}
# Names that are there, so that what answers is the door and not an empty house.
KNOWN = {
    "model": "sum", "number": "1", "alias": "champion", "name": "local", "key_id": "none", "generation": "1",
    "digest": "sha256:" + 64 * "0", "command": "pause", "endpoint": "one",
}  # fmt: skip
# What the query must say for the door to be reached.
QUERY = {"/v1/versions": "?ref=sum"}
# Those that control asks about once it knows the endpoint; who is confined gets in so far.
SOMEWHERE = ("read", "register", "check", "apply", "approve", "outcomes")


@pytest.fixture(scope="module")
def up(tmp_path_factory, archives):
    one = Up(tmp_path_factory.mktemp("h"), "", "--no-node").start()
    one.api.register("sum", archives[0])
    one.api.apply(spec(one="sum/1"))
    yield one
    assert not one.events("internal-error")
    one.close()


@pytest.fixture(scope="module")
def keys(up):
    return {role: up.api.as_role(role).key for role in ROLES} | {"nobody": ""}


@pytest.fixture(scope="module")
def confined(up):
    return {role: up.api.as_role(role, endpoints=["one"]).key for role in ROLES}


def test_every_door_says_what_it_needs():
    doors = {
        (method.upper(), path)
        for path, doors in SCHEMA.raw_schema["paths"].items()
        for method in doors
        if not path.startswith("/v1/health/")
    }
    assert doors == set(NEEDS)


def ask(up, key, method, path):
    """Status and code of a request whose names are there and whose body is empty."""
    body = b"" if method in ("POST", "PUT", "PATCH") else None
    status, _, answer = Api(up.port, key).request(method, path.format(**KNOWN) + QUERY.get(path, ""), body)
    return status, answer["code"] if status >= 400 else None


@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_who_may_gets_in_and_who_may_not_is_told_so(up, keys, confined, method, path):
    action = NEEDS[method, path]
    assert ask(up, "", method, path) == (401, "missing-key")
    for role in ROLES:
        status, code = ask(up, keys[role], method, path)
        may = ROLES.index(role) >= ROLES.index(LEAST_ROLE[action])
        assert may == (status not in (401, 403)), (role, status, code)
        assert may or code == "role-forbidden"
        # Confined to an endpoint a role may no more, and less where it concerns all of them.
        status, code = ask(up, confined[role], method, path)
        if not may:
            assert (status, code) == (403, "role-forbidden"), role
        elif action not in SOMEWHERE:
            assert (status, code) == (403, "endpoint-forbidden"), role


def test_a_node_is_itself_alone(up):
    node = up.api.as_role("viewer", subject="node:local")
    assert node.request("GET", "/v1/nodes/local/routes")[0] == 200
    for method, door in (("GET", "routes"), ("POST", "report")):
        status, _, answer = node.request(method, f"/v1/nodes/other/{door}", b"{}" if method == "POST" else None)
        assert (status, answer["code"]) == (403, "role-forbidden")


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=COUNT, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_no_door_fails_or_lets_in_whom_it_must_not(case, up, keys):
    action = NEEDS.get((case.method, case.operation.path))
    for role, key in keys.items():
        # The first admin's keys must outlive the test.
        if case.method in ("DELETE", "POST") and "{key_id}" in case.operation.path and role == "admin":
            case.path_parameters = {"key_id": "none"}
        if case.query and "wait_s" in case.query:
            case.query = {**case.query, "wait_s": 0}
        answer = case.call(
            base_url=f"http://127.0.0.1:{up.port}", headers={"authorization": f"Bearer {key}" if key else ""}
        )
        assert answer.status_code < 500, (role, answer.status_code, answer.text[:500])
        if action is not None and (role == "nobody" or ROLES.index(role) < ROLES.index(LEAST_ROLE[action])):
            assert answer.status_code >= 400, (role, answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], answer.text[:300]
            assert json.loads(answer.text)["code"]


def test_the_document_is_served_and_needs_no_key(up):
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/openapi.json") as answer:
        assert json.load(answer)["openapi"].startswith("3.1")
