"""Recorded requests from a real log: what breaks their senders fails, what differs is counted row by row."""

import numpy as np
import pytest
from tests.gates.conftest import people

from penstock.core.verdicts import read_report, report_json
from penstock.gates import replay
from penstock.gates.plan import GatePlan, ReplaySettings
from penstock.gates.run import run_gate, run_gates
from penstock.predlog.record import Block, encode_block
from penstock.predlog.segment import SegmentWriter, segment_name
from penstock.predlog.table_views import open_places

NOW_S = 1_000_000.0


def asked(rows, seed):
    frame = people(rows, seed)
    return {"age": frame["age"].to_numpy(), "income": frame["income"].to_numpy(),
            "city": frame["city"].to_numpy(object)}  # fmt: skip


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    """Writes one block into a log of its own and gives its places."""

    def written(inputs, outputs, policy=None):
        home = tmp_path_factory.mktemp("log")
        folder = home / "predlog" / "node"
        folder.mkdir(parents=True)
        count = len(next(iter({**inputs, **outputs}.values())))
        ones = np.ones(count, np.int64)
        block = Block(
            endpoint="churn", arm="main", version="churn/1", bundle="", ids=[f"r-{at}" for at in range(count)],
            time_us=ones * int(NOW_S * 1e6), rows=ones.astype(np.int32), latency_us=ones,
            status=(ones * 200).astype(np.int16), codes=[""] * count, reasons=["only-arm"] * count,
            subjects=[""] * count, inputs=inputs, outputs=outputs, policy=policy or {},
        )  # fmt: skip
        writer = SegmentWriter(folder, segment_name(0, NOW_S, 0))
        writer.append([encode_block(block)])
        writer.close()
        return open_places(home)

    return written


@pytest.fixture(scope="module")
def recorded(log, champion, tmp_path_factory):
    """Three hundred rows with what the champion answers to them."""
    from penstock.gates.candidate import open_candidate

    rows = asked(300, seed=50)
    with open_candidate(champion, tmp_path_factory.mktemp("home")) as subject:
        return log(rows, subject.answer(rows))


@pytest.fixture
def subject(candidate):
    return lambda bundle, places: candidate(bundle, log=places, endpoint="churn")


def test_the_same_model_answers_the_same(subject, champion, recorded):
    found = replay.check(subject(champion, recorded), ReplaySettings(max_changed=0.02, max_shift=1e-6))
    assert found.verdict == "pass", found.summary
    assert (found.evidence["rows"], found.evidence["changed"]) == (300, 0)


def test_another_model_differs_and_the_diff_says_where(subject, unscaled, recorded):
    assert replay.check(subject(unscaled, recorded), ReplaySettings()).verdict == "pass"
    judged = replay.check(subject(unscaled, recorded), ReplaySettings(max_changed=0.01))
    assert judged.verdict == "fail"
    worst = judged.evidence["flips"][0]
    assert worst["recorded"] != worst["got"]
    assert worst["request_id"].startswith("r-")
    assert replay.check(subject(unscaled, recorded), ReplaySettings(max_shift=1e-6)).verdict == "fail"


def test_few_rows_do_not_decide_a_share(subject, champion, recorded):
    found = replay.check(subject(champion, recorded), ReplaySettings(max_changed=0.02, rows=20))
    assert (found.verdict, found.evidence["rows"]) == ("inconclusive", 20)


def test_rows_that_are_not_taken_any_more_fail(subject, champion, log):
    rows = asked(5, seed=1)
    places = log({name: rows[name] for name in ("age", "income")}, {"predictions": np.array(["no"] * 5, object)})
    found = replay.check(subject(champion, places), ReplaySettings())
    assert found.verdict == "fail"
    assert "5 recorded rows are unfit now" in found.summary


def test_rows_that_the_model_fails_on_now_fail(subject, python_bundle, log):
    body = "assert (x < 2).all(), 'too large'\n        return x.sum(axis=1)"
    places = log({"x": np.array([[1.0, 1.0], [5.0, 5.0]])}, {"predictions": np.array([2.0, 10.0])})
    found = replay.check(subject(python_bundle(body, "stricter"), places), ReplaySettings())
    assert (found.verdict, found.evidence["rows"]) == ("fail", 1)
    assert "1 recorded rows are refused now" in found.summary


def test_what_was_not_stored_whole_decides_nothing(subject, champion, log):
    rows = asked(5, seed=1) | {"age": np.array(["#1"] * 5, object)}
    places = log(rows, {"predictions": np.array(["no"] * 5, object)}, {"inputs/age": "hash"})
    found = run_gate("replay", subject(champion, places), ReplaySettings(), 60)
    assert (found.verdict, found.code) == ("inconclusive", "no-requests")
    assert "5 withheld" in found.summary


def test_without_a_log_or_without_requests_it_is_inconclusive(candidate, champion, recorded, tmp_path):
    assert run_gate("replay", candidate(champion), ReplaySettings(), 60).code == "no-requests"
    nothing = candidate(champion, log=open_places(tmp_path), endpoint="churn")
    assert run_gate("replay", nothing, ReplaySettings(), 60).verdict == "inconclusive"
    other = candidate(champion, log=recorded, endpoint="other")
    assert run_gate("replay", other, ReplaySettings(), 60).code == "no-records"


def test_only_the_last_days_are_replayed(subject, champion, recorded):
    a_day_later = replay.check(subject(champion, recorded), ReplaySettings(days=2), today=lambda: NOW_S + 86_400)
    assert a_day_later.evidence["rows"] == 300
    assert run_gate("replay", subject(champion, recorded), ReplaySettings(days=2), 60).code == "no-records"


def test_a_replay_stops_at_its_limit(subject, champion, recorded):
    champion_subject = subject(champion, recorded)
    champion_subject.served.start()
    assert run_gate("replay", champion_subject, ReplaySettings(), 1e-9).code == "gate-timeout"


def test_a_report_with_a_diff_can_be_stored(subject, unscaled, recorded):
    plan = GatePlan(schema=False, golden=False, robustness=False, budget=False, replay=ReplaySettings())
    report = run_gates(subject(unscaled, recorded), plan)
    assert read_report(report_json(report)).findings[0].evidence["changed"] > 0
