"""Keys on a whole node, through both doors: what is open, what is not, and what a change of routes does."""

import json

import msgspec
import pytest
from tests.serving.doors import AsgiDoor, NodeDoor, infer
from tests.serving.nodes import RunningNode, document, endpoint, summing_body, until

from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key

KEYS = {name: new_key() for name in ("all", "one", "late", "slow", "gone")}


def entry(name, **rules):
    return KeyEntry(digest=KEYS[name][2], subject=f'{name} "x"\n', **rules)


def access(**entries):
    return Access(keys={KEYS[name][1]: entry(name, **rules) for name, rules in entries.items()})


ACCESS = access(
    all={}, one={"endpoints": ("one",)}, late={"expires_at": 1.0}, slow={"rate_per_s": 0.01, "endpoints": ("one",)}
)


def bearer(name):
    return {"authorization": f"Bearer {KEYS[name][0]}"}


def get(door, path, headers=None):
    status, got, body = door.call("GET", path, headers=headers)
    return status, got, body


def routes(generation, bundle, access_now, **more):
    plain = document(generation, one=endpoint(bundle), two=endpoint(bundle), **more)
    return msgspec.structs.replace(plain, access=access_now)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, summing_1):
    """A node of one process, and the ASGI adapter, with the same keys."""
    node = RunningNode(tmp_path_factory.mktemp("guarded"))
    node.publish(routes(1, summing_1, ACCESS))
    node.start()
    beside = RunningNode(tmp_path_factory.mktemp("guarded-asgi"))
    beside.publish(routes(1, summing_1, ACCESS))
    adapter = AsgiDoor(beside.settings, beside.log_path)
    yield {"node": (NodeDoor(node), node), "asgi": (adapter, beside)}
    adapter.close()
    assert node.stop() == 0
    assert not node.events("internal-error") + beside.events("internal-error")


@pytest.fixture(params=["node", "asgi"])
def door(request, guarded):
    return guarded[request.param][0]


def test_who_has_a_key_is_answered(door):
    for name, path in (("all", "one"), ("all", "two"), ("one", "one")):
        status, _, answer = infer(door, path, summing_body(), bearer(name))
        assert (status, answer["outputs"][0]["data"]) == (200, [110.0])
    for header in ("x-api-key", "penstock-key"):
        assert infer(door, "one", summing_body(), {header: KEYS["one"][0]})[0] == 200


@pytest.mark.parametrize("path", ["/v2/models/one/infer", "/predict/one", "/v2/models/one/versions/1/infer",
                                  "/v2/models/nowhere/infer", "/v2/models/one/infer?x=1"])  # fmt: skip
@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, "missing-key"), ({"authorization": "Bearer pk_x"}, "invalid-key"), (bearer("late"), "expired-key"),
     (bearer("gone"), "invalid-key"), ({"x-api-key": "anything"}, "invalid-key")],
)  # fmt: skip
def test_who_has_none_learns_nothing(door, path, headers, code):
    status, got, body = door.call("POST", path, json.dumps(summing_body()).encode(), headers)
    assert (status, json.loads(body)["code"]) == (401, code)
    assert got["www-authenticate"] == "Bearer"
    assert b"two" not in body


@pytest.mark.parametrize("path", ["/v2/models/two/infer", "/predict/two", "/v2/models/two/versions/1/infer",
                                  "/v2/models/nowhere/infer"])  # fmt: skip
def test_a_key_for_one_endpoint_does_not_tell_about_the_others(door, path):
    status, got, body = door.call("POST", path, json.dumps(summing_body()).encode(), bearer("one"))
    assert (status, json.loads(body)["code"]) == (403, "endpoint-forbidden")
    assert "www-authenticate" not in got


def test_a_confined_key_is_told_no_other_name(make_node, summing_1):
    node = make_node()
    routes_now = document(1, model=endpoint(summing_1))
    keys = access(all={}, one={"endpoints": ("other",)})
    node.publish(msgspec.structs.replace(routes_now, access=keys))
    node.start()
    named = [("POST", "/v2/models/other/infer"), ("POST", "/predict/other"), ("POST", "/v1/models/other:predict"),
             ("POST", "/v1/embeddings"), ("POST", "/models/other/invoke"), ("GET", "/v2/models/other"),
             ("GET", "/v2/models/other/ready"), ("GET", "/v2/models/other/stats"), ("GET", "/v1/models/other"),
             ("GET", "/v1/models/other/metadata"), ("GET", "/models/other"), ("GET", "/openai/v1/models/other"),
             ("GET", "/v1/models/other/labels/x")]  # fmt: skip
    for method, path in named:
        status, _, body = node.request(method, path, b'{"model": "other", "input": "a"}', bearer("one"))
        assert (status, b"model'" in body, b"served here: model" in body) == (404, False, False), path
        _, _, told = node.request(method, path, b'{"model": "other", "input": "a"}', bearer("all"))
        assert b"served here: model" in told, path
    nameless = [("POST", "/invocations"), ("POST", "/score"), ("POST", "/v1/endpoints/1/deployedModels/2:predict"),
                ("POST", "/v1/embeddings"), ("GET", "/swagger.json")]  # fmt: skip
    body = json.dumps({"inputs": [[1, 2, 3, 4]]}).encode()
    for name in ("one", "all", "one"):
        # The second time the node knows the address.
        for method, path in nameless:
            status, _, answer = node.request(method, path, body, bearer(name))
            if name == "one":
                assert (status, b"endpoint 'model'" in answer, b"'model'" in answer) == (403, False, False), path
            else:
                assert status in (200, 400), path
    assert node.stop() == 0


def test_a_rate_is_held(door):
    first = infer(door, "one", summing_body(), bearer("slow"))
    status, got, answer = infer(door, "one", summing_body(), bearer("slow"))
    assert (status, answer["code"]) == (429, "rate-exceeded")
    assert 1 <= int(got["retry-after"]) <= 100
    assert first[0] in (200, 429)


def test_pages_about_models_need_a_key_and_show_what_it_is_for(door):
    for path in ("/v2/models", "/v2/models/one", "/v2/models/one/ready", "/v2/models/one/versions/1"):
        assert get(door, path)[0] == 401
        assert get(door, path, bearer("late"))[0] == 401
        assert get(door, path, bearer("one"))[0] == 200
    assert get(door, "/v2/models/two", bearer("one"))[0] == 403
    assert json.loads(get(door, "/v2/models", bearer("one"))[2]) == {"models": ["one"]}
    assert json.loads(get(door, "/v2/models", bearer("all"))[2]) == {"models": ["one", "two"]}


def test_health_and_metrics_are_open(door):
    for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2", "/"):
        assert get(door, path)[0] == 200
    assert get(door, "/nowhere")[0] == 404


def test_the_log_has_the_subject_and_never_a_key(guarded):
    _, node = guarded["node"]
    infer(NodeDoor(node), "one", summing_body(), bearer("all"))
    until(lambda: [line for line in node.events("request") if line.get("subject") == 'all "x"\n'], what="its line")
    text = node.log_path.read_text()
    assert not [name for name, (key, _, _) in KEYS.items() if key in text or key.rpartition("_")[2] in text]


def test_new_keys_count_at_once_for_every_process(make_node, summing_1):
    node = make_node(processes=2)
    node.publish(routes(1, summing_1, access(all={}, gone={})))
    node.start()

    def answered(name):
        # More connections than processes: some come to each.
        return {node.post("/v2/models/one/infer", summing_body(), bearer(name))[0] for _ in range(12)}

    assert answered("gone") == answered("all") == {200}
    node.publish(routes(2, summing_1, access(all={})))
    until(lambda: answered("gone") == {401}, what="the revocation")
    assert answered("all") == {200}
    # Without `access` everybody may call again.
    node.publish(routes(3, summing_1, None))
    until(lambda: {node.post("/v2/models/one/infer", summing_body())[0] for _ in range(12)} == {200}, what="openness")


def test_the_rate_is_the_nodes_and_not_each_process_s(make_node, summing_1):
    node = make_node(processes=2)
    node.publish(routes(1, summing_1, access(slow={"rate_per_s": 0.001})))
    node.start()
    answers = [node.post("/v2/models/one/infer", summing_body(), bearer("slow"))[0] for _ in range(24)]
    assert (answers.count(200), answers.count(429)) == (1, 23)


def test_keys_hold_after_a_restart_without_anybody(make_node, summing_1):
    node = make_node()
    node.publish(routes(1, summing_1, access(all={})))
    node.start()
    until(lambda: (node.settings.state / "routes.json").exists(), what="the kept routes")
    assert node.stop() == 0
    node.settings.routes.unlink()
    node.start()
    assert node.post("/v2/models/one/infer", summing_body())[0] == 401
    assert node.post("/v2/models/one/infer", summing_body(), bearer("all"))[0] == 200


def test_a_node_that_requires_a_key_is_not_opened_by_routes_without_any(make_node, summing_1):
    node = make_node(require_key=True)
    node.publish(routes(1, summing_1, None))
    node.start()
    for headers in ({}, bearer("all")):
        assert node.post("/v2/models/one/infer", summing_body(), headers)[0] == 401
    node.publish(routes(2, summing_1, access(all={})))
    until(lambda: node.post("/v2/models/one/infer", summing_body(), bearer("all"))[0] == 200, what="the key")
    assert node.get("/v2/models")[0] == 401


def test_a_revocation_does_not_wait_for_a_version_that_does_not_load(make_node, summing_1, tmp_path):
    node = make_node()
    node.publish(routes(1, summing_1, access(all={}, gone={})))
    node.start()
    good = endpoint(summing_1)
    missing = msgspec.structs.replace(good.arms[0], uri=str(tmp_path / "nowhere"), bundle=f"sha256:{64 * 'a'}")
    broken = msgspec.structs.replace(good, arms=(missing,))
    node.publish(routes(2, summing_1, access(all={}), three=broken))
    node.until_event("load-refused")
    assert node.post("/v2/models/one/infer", summing_body(), bearer("gone"))[0] == 401
    assert node.post("/v2/models/one/infer", summing_body(), bearer("all"))[0] == 200
