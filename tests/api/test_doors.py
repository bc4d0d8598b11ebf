"""The doors themselves: who may, pages, repeats, limits, and how every failure looks."""

import pytest
from tests.api.conftest import Api, Up, spec


@pytest.fixture(scope="module")
def up(tmp_path_factory, archives):
    """One control without a node that most tests here share, with two versions of one model."""
    one = Up(tmp_path_factory.mktemp("home"), "", "--no-node").start()
    for archive in archives:
        one.api.register("sum", archive)
    yield one
    assert one.stop() == 0
    assert not one.events("internal-error")


@pytest.fixture(scope="module")
def api(up):
    return up.api


@pytest.fixture(scope="module")
def roles(api):
    return {role: api.as_role(role) for role in ("viewer", "operator", "approver", "admin")}


def code(api, method, path, body=None, **headers):
    status, got, answer = api.request(method, path, body, **headers)
    assert got["content-type"] == "application/problem+json"
    assert answer["status"] == status and answer["type"] == f"urn:penstock:{answer['code']}" and answer["detail"]
    assert "Traceback" not in answer["detail"] and ".py" not in answer["detail"]
    return status, answer["code"]


def test_without_a_key_nothing_but_health_is_told(api):
    nobody = Api(api.port)
    assert nobody.get("/v1/health/live")["status"] == "live" and nobody.get("/v1/health/ready")["status"] == "ready"
    for path in ("/v1/models", "/v1/status", "/v1/audit", "/v1/nodes/local/routes"):
        assert code(nobody, "GET", path) == (401, "missing-key")
    assert code(nobody, "POST", "/v1/apply", spec()) == (401, "missing-key")
    assert code(Api(api.port, "pk_0_" + "A" * 43), "GET", "/v1/models") == (401, "invalid-key")
    assert code(Api(api.port, "nonsense"), "GET", "/v1/models")[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "least"),
    [
        ("GET", "/v1/models", None, "viewer"),
        ("GET", "/v1/status", None, "viewer"),
        ("POST", "/v1/apply", {"version": 1}, "operator"),
        ("GET", "/v1/audit", None, "operator"),
        ("PUT", "/v1/models/sum/aliases/c", {"version": 1}, "operator"),
        ("POST", "/v1/approvals/999/approve", {}, "approver"),
        ("GET", "/v1/keys", None, "admin"),
        ("POST", "/v1/keys", {"subject": "eve", "role": "admin"}, "admin"),
        ("POST", "/v1/nodes/other/report", {"generation": 0, "digest": "", "state": "serving"}, "operator"),
    ],
)
def test_each_role_may_what_it_may(roles, method, path, body, least):
    order = list(roles)
    for role, api in roles.items():
        status, _, answer = api.request(method, path, body)
        allowed = order.index(role) >= order.index(least)
        assert (status == 403) == (not allowed), (role, status, answer)
        assert allowed or answer["code"] == "role-forbidden"


def test_a_revoked_and_an_expired_key_are_refused(api):
    made = api.post("/v1/keys", {"subject": "bo", "role": "viewer"}, 201)
    key = Api(api.port, made["text"])
    key.get("/v1/models")
    assert made["text"] not in str(api.get("/v1/keys"))
    assert api.request("DELETE", f"/v1/keys/{made['key']['id']}")[0] == 200
    assert code(key, "GET", "/v1/models")[0] == 401


def test_every_change_is_in_the_audit_log_with_who(api, roles):
    roles["operator"].request("PUT", "/v1/models/sum/aliases/seen", {"version": 2, "reason": "to be found"})
    event = [one for one in api.get("/v1/audit?limit=1000")["items"] if one["reason"] == "to be found"][-1]
    assert event["actor"] == "a-operator" and event["action"].startswith("alias")


@pytest.mark.parametrize("path", ["/v1/models/sum/versions", "/v1/audit", "/v1/keys", "/v1/models"])
def test_pages_add_up_to_the_whole(api, path, roles):
    whole = api.get(f"{path}?limit=1000")
    assert whole["next"] is None
    found, cursor = [], ""
    while cursor is not None:
        page = api.get(f"{path}?limit=1{cursor and '&cursor=' + cursor}")
        assert len(page["items"]) <= 1
        found += page["items"]
        cursor = page["next"]
    assert found == whole["items"]


def test_a_repeat_with_its_key_is_answered_as_the_first_was(api):
    first = api.post("/v1/apply", spec(), 202, idempotency_key="one")
    assert api.post("/v1/apply", spec(), 202, idempotency_key="one")["id"] == first["id"]
    other = {"version": 1, "protected_aliases": ["champion"]}
    assert code(api, "POST", "/v1/apply", other, idempotency_key="one") == (409, "idempotency-key-reused")


def test_a_register_is_repeatable_too(api, archives):
    data = archives[0].read_bytes()
    answers = [api.post("/v1/models/sum/versions", data, 201, idempotency_key="r") for _ in range(2)]
    assert answers[0] == answers[1]
    other = archives[1].read_bytes()
    assert code(api, "POST", "/v1/models/sum/versions", other, idempotency_key="r") == (409, "idempotency-key-reused")


def test_who_planned_against_an_older_generation_is_told(api):
    for number in (1, 2):
        api.apply(spec(sum=f"sum/{number}"))
    assert code(api, "POST", "/v1/apply", spec(), if_match='"0"') == (409, "generation-moved")
    assert code(api, "POST", "/v1/apply?expected_generation=0", spec()) == (409, "generation-moved")
    _, headers, _ = api.request("POST", "/v1/plan", spec(sum="sum/1"))
    assert api.ended(api.begin(spec(sum="sum/1"), if_match=headers["etag"]))["state"] == "done"


def test_an_alias_is_moved_only_from_where_it_was(api):
    put = "PUT", "/v1/models/sum/aliases/champion"
    assert api.request(*put, {"version": 1, "expected": "absent"})[0] == 200
    assert code(api, *put, {"version": 2, "expected": 2}) == (409, "alias-moved")
    assert api.request(*put, {"version": 2}, if_match='"1"')[0] == 200
    assert api.get("/v1/versions?ref=sum@champion")["number"] == 2
    assert api.get("/v1/models/sum/aliases")["aliases"]["champion"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/v1/nothing", None, (404, "unknown-address")),
        ("DELETE", "/v1/models", None, (405, "wrong-method")),
        ("GET", "/v1/models?limit=0", None, (400, "invalid-request")),
        ("GET", "/v1/models?limit=ten", None, (400, "invalid-request")),
        ("GET", "/v1/audit?cursor=x", None, (400, "invalid-cursor")),
        ("GET", "/v1/models/none/versions", None, (404, "unknown-model")),
        ("GET", "/v1/models/sum/versions/99", None, (404, "unknown-version")),
        ("GET", "/v1/models/sum/versions/99999999999999999999", None, (400, "invalid-request")),
        ("GET", "/v1/operations/99999", None, (404, "unknown-operation")),
        ("GET", "/v1/versions?ref=%00", None, (400, "invalid-name")),
        ("POST", "/v1/apply", b"{", (400, "invalid-yaml")),
        ("POST", "/v1/apply", b"\xff", (400, "invalid-yaml")),
        ("POST", "/v1/apply", b"version: 1\nendpionts: {}", (400, "invalid-spec")),
        ("POST", "/v1/plan", b"version: 99", (400, "newer-format")),
        ("POST", "/v1/plan", b"x: " + b"y" * 5_000_000, (413, "body-too-large")),
        ("POST", "/v1/keys", {"subject": "a", "role": "god"}, (400, "invalid-request")),
        ("POST", "/v1/keys", {"subject": "a", "role": "viewer", "more": 1}, (400, "invalid-request")),
        ("POST", "/v1/keys", b"[" * 100_000, (400, "invalid-request")),
        ("DELETE", "/v1/keys/none", None, (404, "unknown-key")),
        ("POST", "/v1/models/sum/versions", b"no bundle", (400, None)),
        ("POST", "/v1/models/sum/versions", b"", (400, None)),
        ("PUT", "/v1/models/sum/aliases/c", {"version": 99}, (404, "unknown-version")),
        ("POST", "/v1/nodes/west/report", {"generation": -1, "digest": "", "state": ""}, (400, "invalid-report")),
        ("POST", "/v1/outcomes", {"outcomes": [{"request_id": "", "value": 1}]}, (400, "invalid-outcome")),
    ],
)
def test_bad_input_has_its_code(api, method, path, body, expected):
    status, found = code(api, method, path, body)
    assert status == expected[0] and (expected[1] in (found, None))


def test_a_node_key_is_for_its_own_node(api):
    key = api.post("/v1/keys", {"subject": "node:west", "role": "viewer"}, 201)["text"]
    node = Api(api.port, key)
    assert node.get("/v1/nodes/west/routes")["format"] == 1
    assert code(node, "GET", "/v1/nodes/east/routes") == (403, "role-forbidden")


def test_uploads_leave_nothing_behind(up, api):
    api.request("POST", "/v1/models/sum/versions", b"no bundle")
    assert list((up.home / "uploads").iterdir()) == []
