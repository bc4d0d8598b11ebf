"""Applies through the API: durable, one at a time, and never a mixture, with one control process and with two."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.api.conftest import Api, spec
from tests.serving.nodes import until


@pytest.fixture
def controls(make_up, database_url, tmp_path):
    """Two control processes on one database and one store, without nodes."""
    shared = ["--no-node", "--artifacts", str(tmp_path / "artifacts")]
    first, second = (make_up(database_url, *shared) for _ in range(2))
    first.start()
    second.start()
    return first, second


def test_what_a_killed_control_began_another_one_ends(controls, archives):
    first, second = controls
    first.api.register("sum", archives[0])
    operation = first.api.begin(spec(sum="sum/1"))
    first.kill()
    other = Api(second.port, first.api.key)
    until(lambda: other.get(f"/v1/operations/{operation['id']}")["state"] == "done")
    assert list(other.get("/v1/spec")["endpoints"]) == ["sum"]
    assert other.get("/v1/audit/verification")["broken_at"] is None


def test_of_two_conflicting_applies_one_wins(controls, archives):
    first, second = controls
    for archive in archives:
        first.api.register("sum", archive)
    apis = [first.api, Api(second.port, first.api.key)]
    wanted = [spec(sum=f"sum/{number}", **{f"only-{number}": f"sum/{number}"}) for number in (1, 2)]

    def attempt(api, wish):
        status, _, answer = api.request("POST", "/v1/apply?expected_generation=0", wish)
        assert status in (202, 409), answer
        return api.ended(answer) if status == 202 else {"state": "failed", "error": answer}

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(attempt, apis, wanted))
    assert sorted(one["state"] for one in ended) == ["done", "failed"], ended
    lost = next(one for one in ended if one["state"] == "failed")
    assert lost["error"]["code"] == "generation-moved"
    won = wanted[[one["state"] for one in ended].index("done")]
    for api in apis:
        assert {name: one["model"] for name, one in api.get("/v1/spec")["endpoints"].items()} == {
            name: one["model"] for name, one in won["endpoints"].items()
        }


def test_a_control_that_is_killed_goes_on_when_it_is_back(make_up, archives):
    up = make_up("", "--no-node").start()
    up.api.register("sum", archives[0])
    operation = up.api.begin(spec(sum="sum/1"))
    up.kill()
    up.start()
    assert up.api.ended(operation)["state"] == "done"
