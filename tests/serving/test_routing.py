"""Which arm answers on a real node: sticky units, rules, overrides, and what is recorded of it."""

import json

import msgspec
import pytest
from tests.serving.nodes import document, endpoint, summing_body, until

from penstock.core.buckets import bucket_of
from penstock.core.routes import Access, KeyEntry, Rule, Unit
from penstock.predlog.segment import list_segments, read_segment
from penstock.security.keys import new_key

SUM = "/v2/models/sum/infer"
USERS = [f"user-{number}" for number in range(40)]
BETA = Rule(name="beta", arm="arm-1", header="x-region", values=("eu",))
STAFF = Rule(name="staff", arm="arm-1", units=("ann",), subjects=("tester",))


@pytest.fixture(scope="module")
def split(tmp_path_factory, summing_1, summing_2):
    """A node with endpoints that stick to a header, a cookie, a column and nothing, and one of a single arm."""
    from tests.serving.nodes import RunningNode

    both, half = (summing_1, summing_2), [5_000, 5_000]
    rules = (BETA, STAFF)
    running = RunningNode(tmp_path_factory.mktemp("split"))
    running.publish(document(
        1,
        sum=endpoint(*both, weights=half, unit=Unit(header="X-User")),
        cookie=endpoint(*both, weights=half, unit=Unit(cookie="user"), seed="sum"),
        field=endpoint(*both, weights=half, unit=Unit(field="x"), seed="sum"),
        ruled=endpoint(*both, unit=Unit(header="x-user"), rules=rules),
        only=endpoint(summing_1, unit=Unit(header="x-user")),
    ))  # fmt: skip
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


def asked(node, name, headers=None, body=None, path="infer"):
    """(arm, reason, bucket) of an answer, which comes from the arm that it names."""
    status, got, answer = node.post(f"/v2/models/{name}/{path}", body or summing_body([0, 0, 0, 0]), headers)
    assert status == 200, answer
    assert answer["outputs"][0]["data"][0] % 100 == 0 or body
    return got["penstock-arm"], got["penstock-reason"], got.get("penstock-bucket")


def test_a_unit_gets_one_arm_by_whatever_way_it_is_told(split):
    arms = set()
    for user in USERS:
        bucket = bucket_of("sum", user)[1]
        expected = (f"arm-{int(bucket >= 5_000)}", "unit", str(bucket))
        assert asked(split, "sum", {"x-user": user}) == expected
        assert asked(split, "cookie", {"cookie": f"a=b; user={user}"}) == expected
        arms.add(expected[0])
    assert arms == {"arm-0", "arm-1"}
    for number in range(20):
        body = summing_body([number, 1, 1, 1])
        bucket = bucket_of("sum", str(number))[1]
        assert asked(split, "field", body=body) == (f"arm-{int(bucket >= 5_000)}", "unit", str(bucket))


@pytest.mark.parametrize("user", ["", "x" * 257, "\xff\xfe"])
def test_a_call_without_a_unit_is_drawn(split, user):
    assert asked(split, "sum", {"x-user": user.encode("latin-1")})[1:] == ("weight", None)
    assert asked(split, "sum")[1:] == ("weight", None)


def test_what_comes_before_the_shares(split):
    user = {"x-user": "bob"}
    assert asked(split, "ruled", user) == ("arm-0", "unit", str(bucket_of("ruled", "bob")[1]))
    assert asked(split, "ruled", user | {"x-region": "eu"})[:2] == ("arm-1", "rule:beta")
    assert asked(split, "ruled", {"x-user": "ann"})[:2] == ("arm-1", "rule:staff")
    assert asked(split, "ruled", user | {"x-region": "eu", "penstock-arm": "arm-0"}) == ("arm-0", "override", None)
    pinned = {"penstock-arm": "arm-0", "x-region": "eu"}
    assert asked(split, "ruled", pinned, path="versions/2/infer") == ("arm-1", "version", None)
    assert asked(split, "only", user) == ("arm-0", "only-arm", None)
    for arm in ("arm-9", "ARM-0", ""):
        status, got, answer = split.post(SUM, summing_body(), {"penstock-arm": arm})
        assert (status, answer["code"]) == (404, "unknown-arm")
        assert "penstock-arm" not in got


def test_a_unit_or_an_arm_cannot_put_a_header_into_the_answer(split):
    head = "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{}\r\n\r\n{}"
    body = json.dumps(summing_body())
    for line in ("x-user: a\x0bset-cookie: b", "penstock-arm: a\tset-cookie: b", "cookie: user=a\x7fset-cookie: b"):
        name = "cookie" if line.startswith("cookie") else "sum"
        answer = split.raw(head.format(f"/v2/models/{name}/infer", len(body), line, body).encode()).lower()
        assert b"\nset-cookie" not in answer
        assert answer.startswith((b"http/1.1 200", b"http/1.1 400", b"http/1.1 404"))


def test_a_huge_cookie_is_refused_or_read_and_nothing_else(split):
    status, got, _ = split.post("/v2/models/cookie/infer", summing_body(), {"cookie": "=;" * 4_000 + "user=ann"})
    assert (status, got["penstock-bucket"]) == (200, str(bucket_of("sum", "ann")[1]))
    status, got, _ = split.post("/v2/models/cookie/infer", summing_body(), {"cookie": "user=" + "x" * 200_000})
    assert status in (200, 431)
    assert "penstock-bucket" not in got


def test_the_unit_and_the_reason_are_recorded(split):
    sent = {
        "rec-unit": ("sum", {"x-user": "bob"}), "rec-none": ("sum", {}), "rec-rule": ("ruled", {"x-user": "ann"}),
        "rec-only": ("only", {"x-user": "bob"}), "rec-override": ("sum", {"x-user": "bob", "penstock-arm": "arm-0"}),
    }  # fmt: skip
    for request_id, (name, headers) in sent.items():
        asked(split, name, headers | {"x-request-id": request_id})

    def recorded():
        found = {}
        for one in list_segments(split.settings.predictions):
            for _, block in read_segment(one.path):
                units = [0] * len(block) if block.units is None else block.units.tolist()
                found |= dict(zip(block.ids, zip(block.reasons, units, strict=True), strict=True))
        return {request_id: found[request_id] for request_id in sent} if set(sent) <= set(found) else None

    assert until(recorded) == {
        "rec-unit": ("unit", bucket_of("sum", "bob")[0]), "rec-none": ("weight", 0),
        "rec-rule": ("rule:staff", bucket_of("ruled", "ann")[0]), "rec-only": ("only-arm", bucket_of("only", "bob")[0]),
        "rec-override": ("override", bucket_of("sum", "bob")[0]),
    }  # fmt: skip


def test_only_a_key_that_may_chooses_the_arm_and_rules_know_who_calls(make_node, summing_1, summing_2):
    keys = {name: new_key() for name in ("may", "may-not", "tester")}
    entries = {
        key[1]: KeyEntry(digest=key[2], subject=name, overrides=name == "may") for name, key in keys.items()
    }  # fmt: skip
    node = make_node()
    routes = document(1, sum=endpoint(summing_1, summing_2, unit=Unit(header="x-user"), rules=(STAFF,)))
    node.publish(msgspec.structs.replace(routes, access=Access(keys=entries)))
    node.start()

    def call(name, **headers):
        return node.post(SUM, summing_body(), {"authorization": f"Bearer {keys[name][0]}", **headers})

    override = {"penstock-arm": "arm-1"}
    assert call("may", **override)[1]["penstock-reason"] == "override"
    status, got, answer = call("may-not", **override)
    assert (status, answer["code"]) == (403, "override-forbidden")
    assert "penstock-version" not in got
    # Nobody learns by it which arms there are.
    assert call("may-not", **{"penstock-arm": "nothing"})[2]["code"] == "override-forbidden"
    assert call("tester")[1]["penstock-reason"] == "rule:staff"
    assert call("may-not", **{"x-user": "tester"})[1]["penstock-reason"] == "unit"
