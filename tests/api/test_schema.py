"""Whatever the OpenAPI document allows to be asked, with a key of each role: no 5xx, and nothing forbidden succeeds."""

import json
import urllib.request

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import GenerationMode
from tests.api.conftest import Up

from penstock.api.app import build_app
from penstock.security.identity import ROLES
from penstock.security.permissions import LEAST_ROLE

SCHEMA = schemathesis.openapi.from_dict(build_app(None).openapi())
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
# What each door that writes needs; reading needs `read`. A door that is new and not here fails the test below.
NEEDS = {
    ("POST", "/v1/models/{model}/versions"): "register",
    ("PATCH", "/v1/models/{model}/versions/{number}"): "register",
    ("PUT", "/v1/models/{model}/aliases/{alias}"): "register",
    ("GET", "/v1/audit"): "audit",
    ("GET", "/v1/audit/verification"): "audit",
    ("GET", "/v1/gate-files/{digest}"): "check",
    ("PUT", "/v1/gate-files/{digest}"): "check",
    ("POST", "/v1/checks"): "check",
    ("POST", "/v1/plan"): "read",
    ("POST", "/v1/apply"): "apply",
    ("DELETE", "/v1/nodes/{name}"): "apply",
    ("GET", "/v1/nodes/{name}/routes"): "apply",
    ("POST", "/v1/nodes/{name}/report"): "apply",
    ("GET", "/v1/keys"): "manage-keys",
    ("POST", "/v1/keys"): "manage-keys",
    ("DELETE", "/v1/keys/{key_id}"): "manage-keys",
    ("POST", "/v1/keys/{key_id}/rotate"): "manage-keys",
    ("POST", "/v1/approvals/{number}/approve"): "approve",
    ("POST", "/v1/approvals/{number}/refuse"): "approve",
    ("POST", "/v1/outcomes"): "outcomes",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    one = Up(tmp_path_factory.mktemp("h"), "", "--no-node").start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def keys(up):
    return {role: up.api.as_role(role).key for role in ROLES} | {"nobody": ""}


def test_every_door_that_writes_says_what_it_needs():
    writes = {
        (method.upper(), path)
        for path, doors in SCHEMA.raw_schema["paths"].items()
        for method in doors
        if method != "get"
    }
    assert writes <= set(NEEDS)


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=6, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_no_door_fails_or_lets_in_whom_it_must_not(case, up, keys):
    least = LEAST_ROLE[NEEDS.get((case.method, case.operation.path), "read")]
    open_to_all = case.operation.path.startswith("/v1/health/")
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
        permitted = open_to_all or (role != "nobody" and ROLES.index(role) >= ROLES.index(least))
        if not permitted:
            assert answer.status_code >= 400, (role, answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], answer.text[:300]
            assert json.loads(answer.text)["code"]


def test_the_document_is_served_and_needs_no_key(up):
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/openapi.json") as answer:
        assert json.load(answer)["openapi"].startswith("3.1")
