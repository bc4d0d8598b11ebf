"""Shadows on a real node: they get copies, answer nobody, and whatever they do costs the primary nothing."""

import contextlib
import os
import signal
from collections import defaultdict

import psutil
import pytest
from tests.serving.bundles import python_bundle
from tests.serving.load import Callers
from tests.serving.nodes import document, endpoint, summing_body, until

from penstock.core.routes import Recording, Shadow, Unit
from penstock.predlog.segment import list_segments, read_segment
from penstock.serving.applied import read_applied

SUM = "/v2/models/sum/infer"

TROUBLED = """
import os, time

class Model:
    def predict(self, x):
        if (x == 666).any():
            os._exit(1)
        if (x == 667).any():
            time.sleep(3600)
        if (x == 668).any():
            raise ValueError("no")
        return x.sum(axis=1).astype("float64")
"""


def shadow(bundle, name="next", **rules):
    return Shadow(name=name, version="model/9", bundle=bundle.digest, uri=str(bundle.directory), **rules)


def records(node):
    """Request id to {arm: (reason, status, code, version, outputs, unit, rows)}."""
    found = defaultdict(dict)
    for one in list_segments(node.settings.predictions):
        for _, block in read_segment(one.path):
            ends = block.rows.cumsum().tolist()
            for index, request_id in enumerate(block.ids):
                part = slice(ends[index] - int(block.rows[index]), ends[index])
                outputs = [array[part].tolist() for array in block.outputs.values()]
                unit = 0 if block.units is None else int(block.units[index])
                found[request_id][block.arm] = (
                    block.reasons[index], int(block.status[index]), block.codes[index], block.version,
                    outputs[0] if outputs else None, unit, int(block.latency_us[index]),
                )  # fmt: skip
    return found


def metric(node, name, arm="next"):
    lines = node.get("/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{") and f'arm="{arm}"' in line)


@pytest.fixture
def running(make_node):
    """`running(endpoint, **settings)`: a started node that serves it as `sum`, its shadows loaded."""

    def start(route, loaded=True, **settings):
        node = make_node(**settings)
        node.publish(document(1, sum=route))
        node.start()
        if loaded:
            want = len(route.shadows) * settings.get("processes", 1)
            until(lambda: len(node.events("shadow-loaded")) >= want, what="loaded shadows")
        return node

    return start


def ask(node, request_id, *rows, **headers):
    status, got, answer = node.post(SUM, summing_body(*rows), {"x-request-id": request_id, **headers})
    assert status == 200, answer
    return got["penstock-arm"], answer["outputs"][0]["data"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_shadow_answers_nobody_and_is_recorded_beside_the_answer(
    running, summing_1, summing_2, python_sum, processes
):
    both = (shadow(summing_2), shadow(python_sum, "slow"))
    node = running(endpoint(summing_1, unit=Unit(header="x-user"), shadows=both), processes=processes)
    for number in range(20):
        assert ask(node, f"id-{number}", [number, 0, 0, 0], [1, 1, 1, 1], **{"x-user": "ann"}) == (
            "arm-0", [number + 100.0, 104.0])  # fmt: skip

    def complete():
        found = records(node)
        return found if all(len(found[f"id-{number}"]) == 3 for number in range(20)) else None

    found = until(complete, what="all records")
    units = set()
    for number in range(20):
        one = found[f"id-{number}"]
        assert one["arm-0"][:5] == ("only-arm", 200, "", "model/1", [number + 100.0, 104.0])
        assert one["next"][:5] == ("shadow", 200, "", "model/9", [number + 200.0, 204.0])
        assert one["slow"][:5] == ("shadow", 200, "", "model/9", [number, 4.0])
        units |= {record[5] for record in one.values()}
    assert len(units) == 1
    assert 0 not in units
    for name in ("next", "slow"):
        assert metric(node, "penstock_shadow_calls_total", name) == 20
        assert metric(node, "penstock_shadow_errors_total", name) == 0
        assert metric(node, "penstock_shadow_dropped_total", name) == 0
        # Nobody who adds up requests counts a copy.
        assert metric(node, "penstock_requests_total", name) == 0
    nice = [process.nice() for process in psutil.Process(node.process.pid).children(recursive=True)
            if "penstock.runtime.worker" in process.cmdline()]  # fmt: skip
    assert nice == [min(19, psutil.Process(node.process.pid).nice() + 10)]


def test_an_endpoint_serves_although_its_shadow_cannot_be_loaded(running, summing_1, summing_2, folder):
    gone = Shadow(name="next", version="model/9", bundle="sha256:" + "0" * 64, uri=str(folder / "nowhere"))
    node = running(endpoint(summing_1, shadows=(gone,)), loaded=False)
    assert ask(node, "a") == ("arm-0", [110.0])
    node.until_event("shadow-failed", shadow="next")

    def problems():
        applied = read_applied(node.settings.state, 1)
        return applied.problems if applied else {}

    assert list(until(problems)) == ["sum/shadow next"]
    assert node.get("/v2/health/ready")[0] == 200
    assert b"shadow" not in node.get("/v2/models")[2]
    # The document is a good one: a restart serves it.
    until(lambda: (node.settings.state / "routes.json").exists())
    node.publish(document(2, sum=endpoint(summing_1, shadows=(shadow(summing_2),))))
    node.until_event("shadow-loaded")
    until(lambda: not problems(), what="no problem")
    ask(node, "b")
    until(lambda: "next" in records(node)["b"])


def test_a_shadow_follows_its_routes_without_being_loaded_again_and_goes_with_them(running, summing_1, summing_2):
    node = running(endpoint(summing_1, shadows=(shadow(summing_2),)))
    ask(node, "before")
    until(lambda: "next" in records(node)["before"])
    some = Recording(fields={"x": "drop"})
    node.publish(document(2, sum=endpoint(summing_1, shadows=(shadow(summing_2, sample=1),), recording=some)))
    node.until_event("routes-applied", generation=2)
    for number in range(20):
        ask(node, f"sampled-{number}")
    node.publish(document(3, sum=endpoint(summing_1)))
    node.until_event("routes-applied", generation=3)
    ask(node, "after")
    until(lambda: "arm-0" in records(node)["after"])
    assert len(node.events("shadow-loaded")) == 1
    found = records(node)
    assert [name for name in found if name.startswith("sampled") and "next" in found[name]] == []
    assert "next" not in found["after"]
    assert metric(node, "penstock_shadow_calls_total") == 1


def test_a_shadow_of_another_signature_is_bound_by_its_own_or_fails_by_itself(running, summing_1, identities, folder):
    wide = python_bundle(folder / "wide-sum", "class Model:\n    def predict(self, x):\n        return x.sum(axis=1)\n",
                         datatype="FP64")  # fmt: skip
    both = (shadow(wide, "wide"), shadow(identities["FP32"], "other"))
    node = running(endpoint(summing_1, shadows=both))
    ask(node, "a")
    until(lambda: len(records(node)["a"]) == 3)
    one = records(node)["a"]
    assert one["wide"][:5] == ("shadow", 200, "", "model/9", [10.0])
    assert one["other"][:3] == ("shadow", 400, "wrong-shape")
    assert metric(node, "penstock_shadow_errors_total", "other") == 1


def test_a_shadow_that_crashes_hangs_or_raises_costs_nobody_an_answer(running, summing_1, folder):
    bad = python_bundle(folder / "troubled", TROUBLED)
    node = running(
        endpoint(summing_1, shadows=(shadow(bad, max_pending_calls=100_000, budget=1.0),), limits={"deadline_ms": 500})
    )

    def workers():
        return [process for process in psutil.Process(node.process.pid).children(recursive=True)
                if "penstock.runtime.worker" in process.cmdline()]  # fmt: skip

    with Callers(node, SUM, lambda number: summing_body([number % 100, 0, 0, 0]), count=2) as callers:
        for request_id, value in (("raises", 668), ("crashes", 666), ("hangs", 667)):
            assert ask(node, request_id, [value, 0, 0, 0])[0] == "arm-0"
            until(lambda request_id=request_id: "next" in records(node)[request_id], what=f"a record of {request_id}")
        for process in workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        seen = len(callers.answers)
        until(lambda: len(callers.answers) > seen + 200)
    assert not callers.errors
    assert callers.statuses() == {200}
    found = records(node)
    codes = {name: found[name]["next"][:3] for name in ("raises", "crashes", "hangs")}
    assert codes["raises"] == ("shadow", 500, "model-failed")
    assert codes["crashes"] == ("shadow", 503, "worker-died")
    assert codes["hangs"][1] in (503, 504)
    assert metric(node, "penstock_shadow_errors_total") >= 3
    # It is there again.
    until(lambda: workers(), what="a worker")
    until(lambda: ask(node, "again") and records(node)["again"].get("next", ("", 0))[1] == 200, what="an answer")


def test_a_shadow_cannot_be_asked(running, summing_1, summing_2):
    node = running(endpoint(summing_1, shadows=(shadow(summing_2),)))
    status, _, answer = node.post(SUM, summing_body(), {"penstock-arm": "next"})
    assert (status, answer["code"]) == (404, "unknown-arm")
    status, _, answer = node.post("/v2/models/sum/versions/9/infer", summing_body())
    assert (status, answer["code"]) == (404, "unknown-version")
    status, _, answer = node.post(SUM, b"{}")
    assert status == 400
    assert metric(node, "penstock_shadow_calls_total") == 0
