"""Whole journeys against real processes: traffic, outcomes and kills, while a version takes over an endpoint."""

import http.client
import json

import numpy as np
import pytest
from tests.api.whole import check_whole
from tests.serving.bundles import summing
from tests.serving.nodes import LIMIT_S, until

from penstock.bundle.bundle import save_bundle

# What takes a few hundred calls, so that a test takes seconds.
QUICK = {
    "bake_s": 0.2, "every_s": 0.2, "least_samples": 50, "timeout_s": 60,
    "metrics": {"errors": {"kind": "errors", "margin": 0.15}},
}  # fmt: skip


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """The answers of three versions to the first row of `body` are 110, 111 and 210."""
    folder = tmp_path_factory.mktemp("versions")
    return [
        save_bundle(summing(folder / str(offset), float(offset)), folder / f"sum-{offset}.penstock")
        for offset in (100, 101, 200)
    ]


def body(rows=((1, 2, 3, 4),)):
    data = [float(one) for row in rows for one in row]
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), 4], "data": data}
    return json.dumps({"inputs": [tensor]})


class Traffic:
    """Callers of one endpoint, each a unit; remembers who was answered by which version, and every failure."""

    def __init__(self, up, endpoint="sum", seed=1):
        self.up, self.endpoint = up, endpoint
        self.rng = np.random.default_rng(seed)
        self.seen, self.failed, self.flipped = {}, [], 0
        self.connection = http.client.HTTPConnection("127.0.0.1", up.node_port, timeout=LIMIT_S)

    def call(self, user=None):
        user = f"user-{self.rng.integers(10**9)}" if user is None else user
        self.connection.request("POST", f"/v2/models/{self.endpoint}/infer", body(), {"x-user": user})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            self.failed.append((answer.status, data))
            return None
        version = answer.headers["penstock-version"]
        # Whoever got the new one keeps it while shares only grow.
        if self.seen.get(user, "").endswith("/2") and version.endswith("/1"):
            self.flipped += 1
        self.seen[user] = version
        return answer.headers["x-request-id"], version

    def some(self, count=50, **outcomes):
        """`count` calls by new users; `outcomes` by name make an outcome of the version that answered."""
        posted = []
        for _ in range(count):
            made = self.call()
            if made is not None:
                posted += [
                    {"request_id": made[0], "name": name, "value": value(made[1])} for name, value in outcomes.items()
                ]
        if posted:
            self.up.api.post("/v1/outcomes", {"outcomes": posted}, 202)


def endpoint(model, strategy, **plan):
    return {
        "version": 1,
        "endpoints": {
            "sum": {"model": model, "unit": {"header": "x-user"}, "rollout": {"strategy": strategy, **QUICK, **plan}}
        },
    }


def rollout(up, number=1):
    return up.api.get(f"/v1/rollouts/{number}")


def state(up, number=1):
    return rollout(up, number)["rollout"]["state"]


def told(up, number=1):
    return [event["text"] for event in up.api.get(f"/v1/rollouts/{number}/events")]


def until_ended(up, traffic, number=1, most=150, calls=20, **outcomes):
    """Call until the rollout has ended, or asks somebody."""
    found = rollout(up, number)
    for _ in range(most):
        if found["rollout"]["state"]["phase"] == "ended" or found["rollout"]["state"]["hold"] == "waiting":
            return found["rollout"]["state"]
        traffic.some(calls, **outcomes)
        found = up.api.get(f"/v1/rollouts/{number}?after={found['revision']}&wait_s=0.2")
    raise AssertionError((told(up, number), found["judgement"], up.events("rollout-interrupted")))


def with_versions(up, versions):
    up.start()
    for archive in versions:
        up.api.register("sum", archive)
    return up


@pytest.fixture
def up(make_up, versions):
    return with_versions(make_up(), versions)


@pytest.fixture
def begun():
    """sum/1 is served, and `to` begins to take over."""
    made = []

    def begin(up, strategy, to="sum/2", **plan):
        up.api.apply(endpoint("sum/1", strategy, **plan))
        until(lambda: up.predict() == 110.0, LIMIT_S, "the first version")
        up.api.apply(endpoint(to, strategy, **plan))
        made.append(Traffic(up))
        return made[-1]

    yield begin
    for traffic in made:
        traffic.connection.close()


def test_a_good_canary_takes_over_and_nobody_flips_back(make_up, versions, begun, database_url):
    up = with_versions(make_up(database_url), versions)
    traffic = begun(up, "canary", steps=[10, 50])
    assert until_ended(up, traffic)["end"] == "promoted", told(up)
    assert not traffic.failed and not traffic.flipped
    until(lambda: up.predict() == 111.0, LIMIT_S, "the second version")
    assert {"sum/1", "sum/2"} == set(traffic.seen.values())
    up.stop()
    assert not up.events("internal-error")
    check_whole(database_url)


def is_right(version):
    """What becomes of the answers of each version: the third is worse than the first, and the second as good."""
    return bool(next(RIGHT) < (0.5 if version == "sum/3" else 0.9))


RIGHT = iter(np.random.default_rng(7).random(10**6).tolist())
ACCURACY = {"right": {"kind": "rate", "outcome": "right", "margin": 0.2}}


def test_one_with_worse_outcomes_goes_back(up, begun):
    traffic = begun(up, "canary", to="sum/3", steps=[50], metrics=ACCURACY)
    found = until_ended(up, traffic, right=is_right)
    assert found["end"] == "rolled-back" and "right worse" in found["reason"], told(up)
    assert not traffic.failed
    until(lambda: up.predict() == 110.0, LIMIT_S, "the first version alone")
    again = up.api.post("/v1/plan", endpoint("sum/3", "canary", steps=[50], metrics=ACCURACY))
    assert "was rolled-back" in again["warnings"][-1]
    status, _, answer = up.api.request("POST", "/v1/endpoints/sum/rollback")
    assert (status, answer["code"]) == (409, "nothing-to-roll-back")


def test_a_metric_that_nobody_reports_and_outcomes_of_nobody_lead_nowhere(up, begun):
    traffic = begun(up, "ab", metrics=ACCURACY, timeout_s=3, share=50)
    up.api.post("/v1/outcomes", {"outcomes": [{"request_id": "nobody", "name": "right", "value": True}] * 2}, 202)
    found = until_ended(up, traffic, calls=5)
    assert found["hold"] == "waiting" and "inconclusive after" in found["reason"]
    status, _, answer = up.api.as_role("operator").request("POST", "/v1/rollouts/1/promote")
    assert (status, answer["code"]) == (403, "role-forbidden")
    up.api.post("/v1/rollouts/1/abort?reason=nobody+tells+us")
    assert until_ended(up, traffic)["end"] == "aborted"


def test_a_shadow_answers_nobody_and_is_promoted_where_it_agrees(up, begun):
    agreeing = {"same": {"kind": "disagreement", "margin": 0.2}}
    traffic = begun(up, "shadow", to="sum/2", metrics=agreeing)
    up.api.post("/v1/rollouts/1/pause")
    traffic.some(20)
    assert set(traffic.seen.values()) == {"sum/1"}, "copies alone"
    up.api.post("/v1/rollouts/1/resume")
    assert until_ended(up, traffic)["end"] == "promoted", told(up)
    # 110 and 210 are not the same answer.
    up.api.apply(endpoint("sum/3", "shadow", metrics=agreeing))
    assert until_ended(up, traffic, number=2)["end"] == "rolled-back", told(up, 2)
    assert set(traffic.seen.values()) <= {"sum/1", "sum/2"} and not traffic.failed


def test_blue_green_flips_all_at_once_and_back_in_one_command(up, begun):
    traffic = begun(up, "blue-green", bake_s=1, least_samples=20)
    traffic.some(100)
    assert until_ended(up, traffic)["end"] == "promoted", told(up)
    record = up.api.post("/v1/endpoints/sum/rollback?reason=it+is+rude")
    assert record["rollout"]["state"]["end"] == "rolled-back"
    until(lambda: up.predict() == 110.0, LIMIT_S, "what was served before")
    assert until_ended(up, traffic, number=2)["end"] == "rolled-back" and not traffic.failed
    assert [one["generation"] for one in up.api.get("/v1/endpoints/sum/releases")] != []
