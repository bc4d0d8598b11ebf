"""Recorded requests: what breaks their senders fails, what differs is counted row by row."""

import numpy as np
import pytest
from tests.gates.conftest import people

from penstock.core.verdicts import read_report, report_json
from penstock.gates import replay
from penstock.gates.candidate import Recorded
from penstock.gates.plan import GatePlan, ReplaySettings
from penstock.gates.run import run_gate, run_gates
from penstock.predlog.record import Block


def inputs(rows, seed=50):
    frame = people(rows, seed)
    return {"age": frame["age"].to_numpy(), "income": frame["income"].to_numpy(),
            "city": frame["city"].to_numpy(object)}  # fmt: skip


@pytest.fixture
def requests(candidate, champion):
    """Ten requests of thirty rows, with what the champion answers to them."""
    subject = candidate(champion)
    asked = [inputs(30, seed) for seed in range(10)]
    return [Recorded(one, subject.answer(one), f"r-{number}") for number, one in enumerate(asked)]


def test_the_same_model_answers_the_same(candidate, champion, requests):
    found = replay.check(candidate(champion, requests=iter(requests)), ReplaySettings(max_changed=0.02))
    assert found.verdict == "pass", found.summary
    assert (found.evidence["requests"], found.evidence["rows"], found.evidence["changed"]) == (10, 300, 0)


def test_another_model_differs_and_the_diff_says_where(candidate, unscaled, requests):
    shown = replay.check(candidate(unscaled, requests=requests), ReplaySettings())
    assert shown.verdict == "pass"
    judged = replay.check(candidate(unscaled, requests=requests), ReplaySettings(max_changed=0.01))
    assert judged.verdict == "fail"
    assert 0 < len(judged.evidence["examples"]) <= 20
    one = judged.evidence["examples"][0]
    recorded = next(request for request in requests if request.id == one["id"])
    assert np.asarray(recorded.outputs[one["output"]][one["row"]]).tolist() == one["recorded"] != one["now"]


def test_few_rows_do_not_decide_a_share(candidate, champion, requests):
    found = replay.check(candidate(champion, requests=requests[:1]), ReplaySettings(max_changed=0.02))
    assert found.verdict == "inconclusive"


def test_requests_that_are_refused_now_fail(candidate, champion, requests):
    strange = Recorded({**requests[0].inputs, "salary": np.ones(30)}, requests[0].outputs, "strange")
    found = replay.check(candidate(champion, requests=[*requests, strange]), ReplaySettings())
    assert found.verdict == "fail"
    assert found.evidence["failures"] == {"wrong-inputs": 1}
    assert found.evidence["refused"] == [{"id": "strange", "code": "wrong-inputs"}]


@pytest.mark.parametrize(
    "outputs", [{"gone": np.ones(30)}, {"predictions": np.ones((30, 2))}, {"predictions": np.ones(30)}]
)
def test_outputs_that_do_not_come_as_recorded_fail(candidate, champion, requests, outputs):
    found = replay.check(candidate(champion, requests=[Recorded(requests[0].inputs, outputs, "r")]), ReplaySettings())
    assert found.verdict == "fail"


def test_what_was_not_stored_whole_is_counted_and_not_blamed(candidate, champion, requests):
    cut = [Recorded({"age": np.ones(1)}, {}, "hashed", whole=False)]
    found = replay.check(candidate(champion, requests=requests + cut), ReplaySettings())
    assert (found.verdict, found.evidence["not_whole"]) == ("pass", 1)
    alone = run_gate("replay", candidate(champion, requests=cut), ReplaySettings(), 60)
    assert (alone.verdict, alone.code) == ("inconclusive", "no-requests")


@pytest.mark.parametrize("requests", [None, []])
def test_without_requests_it_is_inconclusive(candidate, champion, requests):
    found = run_gate("replay", candidate(champion, requests=requests), ReplaySettings(), 60)
    assert (found.verdict, found.code) == ("inconclusive", "no-requests")


def test_only_so_many_are_replayed(candidate, champion, requests):
    found = replay.check(candidate(champion, requests=requests), ReplaySettings(requests=3))
    assert found.evidence["requests"] == 3


def block(**changed):
    columns = {"age": np.arange(5), "income": np.arange(5.0)}
    every = {
        "endpoint": "churn", "arm": "main", "version": "churn/1", "bundle": "", "ids": ["a", "b", "c"],
        "time_us": np.ones(3, np.int64), "rows": np.array([1, 3, 1], np.int32), "latency_us": np.ones(3, np.int64),
        "status": np.full(3, 200, np.int16), "codes": [""] * 3, "reasons": [""] * 3, "subjects": [""] * 3,
        "inputs": columns, "outputs": {"predictions": np.arange(5)},
    }  # fmt: skip
    return Block(**(every | changed))


def test_the_prediction_log_s_blocks_are_cut_into_calls():
    found = list(replay.recorded_calls([block()]))
    assert [(one.id, one.inputs["age"].tolist(), one.outputs["predictions"].tolist()) for one in found] == [
        ("a", [0], [0]), ("b", [1, 2, 3], [1, 2, 3]), ("c", [4], [4]),
    ]  # fmt: skip
    assert all(one.whole for one in found)


def test_failed_calls_and_changed_fields_are_not_taken_for_what_was_answered():
    failed = block(status=np.array([200, 500, 200], np.int16))
    assert [one.id for one in replay.recorded_calls([failed])] == ["a", "c"]
    assert list(replay.recorded_calls([block(inputs={}, outputs={})])) == []
    hashed = block(policy={"inputs/age": "hash", "outputs/predictions": "hash"})
    assert [(one.whole, one.outputs) for one in replay.recorded_calls([hashed])] == [(False, {})] * 3


def test_a_report_with_a_diff_can_be_stored(candidate, unscaled, requests):
    plan = GatePlan(schema=False, golden=False, robustness=False, budget=False, replay=ReplaySettings())
    report = run_gates(candidate(unscaled, requests=requests), plan)
    assert read_report(report_json(report)).findings[0].evidence["changed"] > 0
