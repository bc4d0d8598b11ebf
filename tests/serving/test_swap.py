"""From one version to the next under load, and what a node does with documents it must not obey."""

import json
import os
import shutil
import signal
import socket

import msgspec
import psutil
import pytest
from tests.serving.bundles import ROWS, python_bundle, some
from tests.serving.load import Callers
from tests.serving.nodes import LIMIT_S, arm, document, endpoint, free_port, summing_body, until

from penstock.core.digest import canonical_json
from penstock.core.routes import Cache, Endpoint

SWAPS = int(os.environ.get("PENSTOCK_TEST_SWAPS", "6"))
CYCLES = int(os.environ.get("PENSTOCK_TEST_CYCLES", "25"))
SUM = "/v2/models/sum/infer"


def only(bundle, number, **rules):
    return Endpoint(arms=(arm(bundle, number),), **rules)


def body(number):
    return summing_body([number % 1000, 0, 0, 0])


def value(node):
    status, headers, answer = node.post(SUM, summing_body())
    assert status == 200, answer
    return answer["outputs"][0]["data"][0], headers["penstock-version"]


def applied(node, generation):
    node.until_event("routes-applied", generation=generation)


NEGATIVE = """
import time

class Model:
    def load(self, directory):
        time.sleep(0.5)

    def predict(self, x):
        return -x.sum(axis=1).astype("float64")
"""


def swapped(node, generation, processes, bundle, number):
    """Publish a version and wait until every event loop obeys."""
    node.publish(document(generation, sum=only(bundle, number)))
    until(
        lambda: [line["generation"] for line in node.events("routes-applied")].count(generation) == processes,
        what=f"generation {generation}",
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_swapping_under_load_loses_nothing(make_node, summing_1, summing_2, processes):
    node = make_node(processes=processes)
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    with Callers(node, SUM, body) as callers:
        for generation in range(2, 2 + SWAPS):
            number = 2 - generation % 2
            swapped(node, generation, processes, (summing_1, summing_2)[number - 1], number)
            seen = len(callers.answers)
            until(lambda seen=seen: len(callers.answers) > seen + 20)
    assert not callers.errors
    assert len(callers.answers) == callers.sent
    assert callers.statuses() == {200}
    for _, version, answer, _, number in callers.answers:
        offset = {"model/1": 100.0, "model/2": 200.0}[version]
        assert answer["outputs"][0]["data"] == [number % 1000 + offset]
        assert answer["model_version"] == version[-1]
    until(lambda: len(node.events("version-freed")) == SWAPS * processes)
    # Every process's own counters, added up: what was accepted was answered, but for the page itself.
    page = node.get("/metrics")[2].decode()
    counts = dict(line.split() for line in page.splitlines() if line.startswith(("penstock_acc", "penstock_ans")))
    assert (
        float(counts["penstock_answered_total"]) == float(counts["penstock_accepted_total"]) - 1 > len(callers.answers)
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_swapping_models_in_processes_loses_nothing(make_node, folder, python_sum, processes):
    negative = -some("FP32", (ROWS, 4)).sum(axis=1).astype("float64")
    other = python_bundle(folder / f"negative-{processes}", NEGATIVE, outputs={"predictions": negative})
    node = make_node(processes=processes)
    node.publish(document(1, sum=only(python_sum, 1)))
    node.start()
    workers = model_processes(node)
    assert len(workers) == 1
    with Callers(node, SUM, body, count=3) as callers:
        for generation, bundle, number in ((2, other, 2), (3, python_sum, 1)):
            swapped(node, generation, processes, bundle, number)
            seen = len(callers.answers)
            until(lambda seen=seen: len(callers.answers) > seen + 20)
    assert not callers.errors
    assert callers.statuses() == {200}, [answer for answer in callers.answers if answer[0] != 200][:3]
    for _, version, answer, _, number in callers.answers:
        assert answer["outputs"][0]["data"] == [number % 1000 * {"model/1": 1, "model/2": -1}[version]]
    # The old processes end when nobody needs them any more.
    until(lambda: len(model_processes(node)) == 1)
    assert model_processes(node) != workers


def model_processes(node):
    found = []
    for process in psutil.Process(node.process.pid).children(recursive=True):
        try:
            if "penstock.runtime.worker" in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_bad_version_keeps_the_old_one_and_says_why(make_node, summing_1, summing_2, tmp_path):
    node = make_node()
    node.publish(document(1, sum=only(summing_1, 1), other=only(summing_1, 1)))
    node.start()
    damaged = tmp_path / "damaged"
    shutil.copytree(summing_2.directory, damaged)
    model = damaged / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    bad = summing_2.__class__(damaged, summing_2.manifest, summing_2.digest)
    node.publish(document(2, sum=only(bad, 2), other=only(summing_2, 2)))
    line = node.until_event("load-refused", endpoint="sum", code="tampered-bundle")
    assert "model.onnx" in line["reason"]
    applied(node, 2)
    assert value(node) == (110.0, "model/1")
    # The other endpoint of the same document is changed.
    assert node.post("/v2/models/other/infer", summing_body())[2]["outputs"][0]["data"] == [210.0]
    gone = summing_2.__class__(tmp_path / "gone", summing_2.manifest, summing_2.digest)
    node.publish(document(3, sum=only(gone, 3), new=only(gone, 3)))
    node.until_event("load-refused", endpoint="new", code="unknown-bundle")
    assert value(node) == (110.0, "model/1")
    # An endpoint that never was: not ready, with the reason.
    status, _, text = node.get("/v2/models/new/ready")
    assert status == 503
    assert "no bundle" in json.loads(text)["error"]
    assert node.post("/v2/models/new/infer", summing_body())[0] in (404, 503)
    node.publish(document(4, sum=only(summing_2, 4)))
    applied(node, 4)
    assert value(node) == (210.0, "model/4")


@pytest.mark.parametrize("processes", [1, 2])
def test_an_environment_that_is_not_here_is_never_built_by_a_node(make_node, summing_1, folder, processes):
    bundle = python_bundle(folder / f"foreign-{processes}", SOURCE, pins="no-such-model==1.0\n")
    node = make_node(processes=processes)
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    for generation in (2, 3):
        node.publish(document(generation, sum=only(bundle, generation), new=only(bundle, generation)))
        line = node.until_event("load-refused", endpoint="new", code="environment-missing")
        assert "no-such-model==1.0" in line["reason"]
        until(lambda: node.try_status("/v2/models/new/ready") == 503)
        assert value(node) == (110.0, "model/1")
        assert node.stop() == 0
        node.start(wait="live")
        until(lambda: node.try_status("/v2/models/sum/ready") == 200)
    assert not (node.settings.home / "envs").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace(b'"weight"', b'"wait":1,"weight"'), "invalid-routes"),
        (lambda text: text.replace(b'"format":1', b'"format":2,"new":true'), "newer-format"),
        (lambda text: text.replace(b"10000", b"9999"), "invalid-routes"),
        (lambda text: text[:-10], "invalid-routes"),
        (lambda text: b"", "invalid-routes"),
        (lambda text: text.replace(b'"generation":9', b'"generation":2'), "older-generation"),
    ],
)  # fmt: skip
def test_a_document_that_is_not_obeyed_leaves_everything_as_it_was(make_node, summing_1, summing_2, change, code):
    node = make_node()
    node.publish(document(5, sum=only(summing_1, 1)))
    node.start()
    node.publish(change(canonical_json(document(9, sum=only(summing_2, 2)))))
    node.until_event("routes-refused", code=code)
    assert value(node) == (110.0, "model/1")
    node.publish(document(10, sum=only(summing_2, 2)))
    applied(node, 10)
    assert value(node) == (210.0, "model/2")


def test_a_restart_serves_the_last_good_document(make_node, summing_1, summing_2, tmp_path):
    node = make_node()
    node.publish(document(7, sum=only(summing_1, 1)))
    node.start()
    assert node.stop() == 0
    for text in (None, b"{broken", canonical_json(document(3, sum=only(summing_2, 2)))):
        node.settings.routes.unlink(missing_ok=True)
        if text is not None:
            node.publish(text)
        node.start()
        assert value(node) == (110.0, "model/1")
        assert node.stop() == 0
    gone = summing_2.__class__(tmp_path / "gone", summing_2.manifest, summing_2.digest)
    node.publish(document(8, sum=only(gone, 2), other=only(summing_2, 2)))
    node.start()
    # What cannot be had is as it was; the rest is as the document says.
    assert value(node) == (110.0, "model/1")
    assert node.post("/v2/models/other/infer", summing_body())[2]["outputs"][0]["data"] == [210.0]
    node.until_event("load-refused", endpoint="sum", code="unknown-bundle")


def test_without_any_routes_it_waits_for_them(make_node, summing_1):
    node = make_node()
    node.start(wait="live")
    assert node.try_status("/v2/health/ready") == 503
    status, _, answer = node.post(SUM, summing_body())
    assert (status, answer["code"]) == (404, "unknown-endpoint")
    node.publish(document(1, sum=only(summing_1, 1)))
    until(lambda: node.try_status("/v2/health/ready") == 200)
    assert value(node) == (110.0, "model/1")


def test_a_full_disk_does_not_end_the_following_of_routes(make_node, summing_1, summing_2):
    node = make_node()
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    # Where the last good document is kept stands a folder: nothing can be written there, as root neither.
    kept = node.settings.state / "routes.json"
    until(kept.exists)
    kept.unlink()
    kept.mkdir()
    (kept / "full").touch()
    for generation, bundle, number in ((2, summing_2, 2), (3, summing_1, 1)):
        node.publish(document(generation, sum=only(bundle, number)))
        node.until_event("routes-applied", generation=generation)
    assert node.until_event("routes-not-kept")["reason"]
    assert value(node) == (110.0, "model/1")


def test_weights_change_without_loading_anything(make_node, summing_1, summing_2):
    node = make_node()
    node.publish(document(1, sum=endpoint(summing_1, summing_2, weights=[10_000, 0])))
    node.start()
    assert value(node)[1] == "model/1"
    node.publish(document(2, sum=endpoint(summing_1, summing_2, weights=[0, 10_000])))
    applied(node, 2)
    assert value(node)[1] == "model/2"
    assert not node.events("version-freed")


def test_an_arm_that_is_only_called_otherwise_is_not_loaded_again(make_node, summing_1, summing_2):
    node = make_node()
    both = endpoint(summing_1, summing_2, weights=[10_000, 0])
    node.publish(document(1, sum=both))
    node.start()
    first, second = both.arms
    # As a rollout ends: the new one gets the old one's name and all the traffic.
    renamed = msgspec.structs.replace(second, name=first.name, weight=10_000)
    node.publish(document(2, sum=msgspec.structs.replace(both, arms=(renamed,))))
    applied(node, 2)
    status, headers, _ = node.post("/v2/models/sum/infer", summing_body())
    assert (status, headers["penstock-arm"], headers["penstock-version"]) == (200, first.name, "model/2")
    node.until_event("version-freed", version="model/1")
    assert len(node.events("version-freed")) == 1, "the second is the one that was there"


def test_a_new_version_never_sees_old_answers(make_node, summing_1, summing_2, python_sum, folder):
    node = make_node()
    node.publish(document(1, sum=only(summing_1, 1, cache=Cache())))
    node.start()
    assert [value(node) for _ in range(3)] == [(110.0, "model/1")] * 3
    page = node.get("/metrics")[2].decode()
    assert 'penstock_cache_hits_total{arm="main",endpoint="sum",version="model/1"} 2.0' in page
    node.publish(document(2, sum=only(summing_2, 2, cache=Cache())))
    applied(node, 2)
    assert [value(node) for _ in range(3)] == [(210.0, "model/2")] * 3
    # A model that does not always answer the same is not cached.
    changing = python_bundle(folder / "changing", SOURCE, deterministic=False)
    node.publish(document(3, sum=only(changing, 3, cache=Cache())))
    assert "not deterministic" in node.until_event("load-refused", code="cache-refused")["reason"]
    assert value(node) == (210.0, "model/2")


SOURCE = """
import pathlib, time

class Model:
    def predict(self, x, parameters):
        if "log" in parameters:
            with open(parameters["log"], "a") as file:
                file.write("run\\n")
            time.sleep(0.3)
        return x.sum(axis=1).astype("float64")
"""


def test_identical_calls_in_flight_are_run_once(make_node, folder, tmp_path):
    bundle = python_bundle(folder / "slow-logging", SOURCE)
    node = make_node()
    node.publish(document(1, sum=only(bundle, 1, cache=Cache())))
    node.start()
    runs = tmp_path / "runs"
    same = {**summing_body(), "parameters": {"log": str(runs)}}
    with Callers(node, SUM, same, count=8) as callers:
        until(lambda: len(callers.answers) >= 24)
    assert callers.statuses() == {200}
    assert {answer["outputs"][0]["data"][0] for _, _, answer, _, _ in callers.answers} == {10.0}
    assert runs.read_text() == "run\n"
    # Parameters that only Python takes for equal are other questions.
    for parameter in (1, True, 1.0, "1"):
        node.post(SUM, {**summing_body(), "parameters": {"log": str(runs), "n": parameter}})
    assert runs.read_text() == "run\n" * 5


def test_sigterm_drains(make_node, folder, tmp_path):
    bundle = python_bundle(folder / "slow", SOURCE)
    node = make_node()
    node.publish(document(1, sum=only(bundle, 1)))
    node.start()
    runs = tmp_path / "runs"
    body = json.dumps({**summing_body(), "parameters": {"log": str(runs)}}).encode()
    with (
        socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client,
        socket.create_connection(("127.0.0.1", node.port)) as idle,
    ):
        client.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (SUM.encode(), len(body), body))
        until(runs.exists)
        node.process.send_signal(signal.SIGTERM)
        # What was accepted is answered, and the connection is closed with it.
        data = b""
        while part := client.recv(65_536):
            data += part
        assert data.startswith(b"HTTP/1.1 200 ")
        assert idle.recv(10) == b""
    assert node.process.wait(LIMIT_S) == 0
    assert node.events("stopped")
    assert not model_processes_named(node)


def model_processes_named(node):
    return [
        p.pid for p in psutil.process_iter(["cmdline"]) if str(node.settings.home) in " ".join(p.info["cmdline"] or [])
    ]


def test_a_second_node_of_the_same_name_is_refused(make_node, summing_1):
    node, second = make_node(), make_node()
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    second.settings = msgspec.structs.replace(node.settings, port=free_port())
    second.start(wait="")
    assert second.process.wait(LIMIT_S) == 1
    assert "node-running" in second.log_path.read_text()
    assert value(node) == (110.0, "model/1")


def test_loading_and_unloading_gives_the_memory_back(make_node, summing_1, summing_2):
    node = make_node()
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    memory = psutil.Process(node.process.pid)
    used = {}
    for cycle in range(1, CYCLES + 1):
        node.publish(document(2 * cycle, sum=only(summing_1, 1), other=only(summing_2, cycle)))
        swapped_to(node, 2 * cycle)
        assert node.post("/v2/models/other/infer", summing_body())[0] == 200
        node.publish(document(2 * cycle + 1, sum=only(summing_1, 1)))
        swapped_to(node, 2 * cycle + 1)
        until(lambda cycle=cycle: len(node.events("version-freed")) == cycle)
        used[cycle] = memory.memory_info().rss
    assert used[CYCLES] < used[10] * 1.1


def swapped_to(node, generation):
    until(lambda: f"penstock_generation {float(generation)}\n" in node.get("/metrics")[2].decode())
