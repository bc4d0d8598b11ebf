"""A node whose models or event loops die, and one that is asked too much: it says so and goes on."""

import os
import signal

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.bundles import python_bundle
from tests.serving.load import Callers, burst, quantile
from tests.serving.nodes import arm, document, summing_body, until

from penstock.core.routes import Endpoint, Limits

SUM = "/v2/models/sum/infer"
COSTLY = """
import os
import time

class Model:
    def predict(self, x, parameters):
        if "die" in parameters:
            os._exit(9)
        while "until" in parameters and not os.path.exists(parameters["until"]):
            time.sleep(0.005)
        time.sleep(0.02 * len(x))
        return x.sum(axis=1).astype("float64")
"""


BROKEN = """
class Model:
    def load(self, directory):
        raise OSError("no weights")

    def predict(self, x):
        return x
"""


@pytest.fixture(scope="module")
def costly(tmp_path_factory):
    """A model of 20 ms a row in a process of its own: so slow that clients are faster on any machine."""
    return python_bundle(tmp_path_factory.mktemp("costly") / "bundle", COSTLY)


def only(bundle, **rules):
    return Endpoint(arms=(arm(bundle, 1),), **rules)


def metrics(node):
    """Sample name and labels (as a sorted tuple) to value."""
    page = node.get("/metrics")[2].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def of(found, name, **labels):
    return sum(value for (key, has), value in found.items() if key == name and labels.items() <= dict(has).items())


def test_three_times_too_much(make_node, costly):
    limits = Limits(deadline_ms=400, max_wait_ms=300)
    node = make_node()
    node.publish(document(1, sum=only(costly, limits=limits)))
    node.start()
    until(lambda: node.post(SUM, summing_body())[0] == 200)
    memory = psutil.Process(node.process.pid)
    before = memory.memory_info().rss
    # 50 rows a second is what it can do.
    answers = burst(node, SUM, summing_body(), rate_hz=150, seconds=3.0)
    accepted = [took for status, _, took in answers if status == 200]
    refused = [(headers, took) for status, headers, took in answers if status == 429]
    assert {status for status, *_ in answers} <= {200, 429, 504}
    # How many of each is this machine's affair; the bench measures it.
    assert len(accepted) > 20
    assert len(refused) > 20
    assert all(int(headers["retry-after"]) >= 1 for headers, _ in refused)
    # A refusal does not wait for the queue that it is refused from.
    assert quantile([took for _, took in refused], 0.5) < quantile(accepted, 0.5)
    assert node.get("/v2/health/ready")[0] == 200
    until(lambda: node.post(SUM, summing_body())[0] == 200)
    assert memory.memory_info().rss - before < 30e6


def test_health_and_metrics_do_not_queue(make_node, costly, tmp_path):
    node = make_node()
    node.publish(document(1, sum=only(costly, limits=Limits(deadline_ms=60_000))))
    node.start()
    held = {**summing_body(), "parameters": {"until": str(tmp_path / "go")}}
    with Callers(node, SUM, held, count=3) as callers:
        until(lambda: of(metrics(node), "penstock_running_rows", endpoint="sum") > 0)
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/sum/ready"):
            assert node.get(path)[0] == 200
        assert not callers.answers
        (tmp_path / "go").touch()
        until(lambda: len(callers.answers) > 3)
    assert callers.statuses() == {200}


def test_a_dead_model_process_costs_its_own_calls_only(make_node, costly):
    node = make_node()
    node.publish(document(1, sum=only(costly)))
    node.start()
    with Callers(node, SUM, summing_body(), count=4) as callers:
        until(lambda: len(callers.answers) > 20)
        status, _, answer = node.post(SUM, {**summing_body(), "parameters": {"die": True}})
        assert (status, answer["code"]) == (503, "worker-died")
        node.until_event("worker-ended")
        seen = len(callers.answers)
        until(lambda: len([1 for a in callers.answers[seen:] if a[0] == 200]) > 20)
    assert callers.statuses() <= {200, 503}
    assert {a[2]["code"] for a in callers.answers if a[0] == 503} <= {"worker-died", "no-worker"}
    assert all(a[2]["outputs"][0]["data"] == [10.0] for a in callers.answers if a[0] == 200)
    until(lambda: of(metrics(node), "penstock_worker_restarts_total") == 1)


def test_a_model_without_a_process_is_not_ready(make_node, costly):
    node = make_node()
    node.publish(document(1, sum=only(costly)))
    node.start()
    for _ in range(4):
        # Each death doubles the pause before the next start.
        until(lambda: dies_and_is_not_ready(node))
        until(lambda: node.get("/v2/models/sum/ready")[0] == 200)
    assert node.post(SUM, summing_body())[0] == 200


def dies_and_is_not_ready(node):
    """Not at every attempt on a machine that stalls: the process may be there again before it is asked for."""
    node.post(SUM, {**summing_body(), "parameters": {"die": True}})
    return node.get("/v2/models/sum/ready")[0] == 503


def test_a_call_is_answered_at_its_deadline_while_the_model_still_runs(make_node, costly, tmp_path):
    node = make_node()
    node.publish(document(1, sum=only(costly)))
    node.start()
    never = {**summing_body(), "parameters": {"until": str(tmp_path / "never")}}
    status, _, answer = node.post(SUM, never, {"penstock-timeout-ms": "100"})
    assert (status, answer["code"]) == (504, "deadline-exceeded")
    until(lambda: node.post(SUM, summing_body())[0] == 200)


def loops(node):
    """Process ids of the event loops."""
    found = {}
    for child in psutil.Process(node.process.pid).children():
        command = child.cmdline()
        if "penstock.serving" in command:
            found[int(command[command.index("penstock.serving") + 1])] = child.pid
    return found


def test_any_loop_speaks_for_the_whole_node(make_node, costly, summing_1):
    node = make_node(processes=2)
    node.publish(document(1, sum=only(summing_1), costly=only(costly)))
    node.start()
    assert sorted(loops(node)) == [0, 1]
    # Connections of their own: the kernel divides them over both.
    for _ in range(40):
        assert node.post(SUM, summing_body())[0] == 200
    for _ in range(6):
        found = metrics(node)
        assert of(found, "penstock_requests_total", endpoint="sum", code="200") == 40
        assert of(found, "penstock_processes") == 2
        assert of(found, "penstock_generation") == 1
    # Both loops share one model process.
    children = psutil.Process(node.process.pid).children(recursive=True)
    assert len([child for child in children if "penstock.runtime.worker" in child.cmdline()]) == 1
    assert node.post("/v2/models/costly/infer", summing_body())[0] == 200


def test_a_killed_loop_is_started_again_and_nothing_is_forgotten(make_node, costly, summing_1):
    node = make_node(processes=2)
    node.publish(document(1, sum=only(summing_1), costly=only(costly)))
    node.start()
    for _ in range(10):
        node.post(SUM, summing_body())
    before = loops(node)
    os.kill(before[1], signal.SIGKILL)
    node.until_event("loop-ended", index=1)
    # While it is gone the node says that it is not whole, and answers.
    answered = 0
    statuses = set()

    def whole():
        nonlocal answered
        try:
            answered += node.post(SUM, summing_body())[0] == 200
            statuses.add(node.get("/v2/health/ready")[0])
        except OSError:
            # The kernel had given the connection to the loop that was killed.
            return False
        return len(loops(node)) == 2 and node.try_status("/v2/health/ready") == 200

    until(whole)
    assert answered
    after = loops(node)
    assert after[0] == before[0]
    assert after[1] != before[1]
    for _ in range(10):
        assert node.post("/v2/models/costly/infer", summing_body())[0] == 200
    assert of(metrics(node), "penstock_requests_total", endpoint="sum") >= 10


def test_a_killed_supervisor_takes_its_loops_with_it(make_node, summing_1):
    node = make_node(processes=2)
    node.publish(document(1, sum=only(summing_1)))
    node.start()
    children = [psutil.Process(pid) for pid in loops(node).values()]
    node.process.kill()
    node.process.wait()
    until(lambda: not any(child.is_running() for child in children))
    # Its successor finds port, name and counters free.
    node.start()
    assert node.post(SUM, summing_body())[0] == 200


def test_a_model_that_cannot_start_is_told_by_every_loop(make_node, folder, summing_1):
    broken = python_bundle(folder / "broken", BROKEN)
    node = make_node(processes=2)
    node.publish(document(1, sum=only(summing_1)))
    node.start()
    node.publish(document(2, sum=only(broken)))
    until(lambda: len(node.events("load-refused")) == 2)
    assert all("no weights" in line["reason"] for line in node.events("load-refused"))
    assert node.post(SUM, summing_body())[2]["outputs"][0]["data"] == [110.0]
    # What could not be had is asked for again with the next document.
    node.publish(document(3, sum=only(broken), other=only(summing_1)))
    until(lambda: len(node.events("load-refused")) == 4)
    assert node.post("/v2/models/other/infer", summing_body())[0] == 200
