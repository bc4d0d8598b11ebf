"""`penstock up`: from an empty home to an answer; what is killed comes back, and answers never wait for control."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys

import msgspec
import psutil
from tests.api.conftest import spec
from tests.serving.nodes import free_port, summing_body, until

from penstock.serving.settings import Following


def is_gone(pid):
    """It has ended; whoever inherits an orphan may not have looked yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_from_an_empty_home_to_an_answer(make_up, archives, database_url):
    # Given nothing, when control is started, a bundle registered and an endpoint applied
    up = make_up(database_url).start()
    assert up.api.register("sum", archives[0]) == 1
    operation = up.api.apply(spec(sum="sum/1"))
    # Then the node answers, and control knows
    until(lambda: up.predict() == 110)
    status = up.api.get("/v1/status")
    assert status["generation"]["generation"] == operation["generation"]
    until(lambda: up.api.get("/v1/status")["convergence"]["serving"] == ["local"])
    # And the home is its owner's alone
    assert up.home.stat().st_mode & 0o77 == 0 and (up.home / "admin.key").stat().st_mode & 0o77 == 0
    # And a signal drains both
    pid = up.node_pid()
    assert up.stop() == 0
    until(lambda: is_gone(pid))
    assert up.events("stopped") and up.events("stopped", "node")


def test_answers_go_on_without_control_and_the_next_one_finds_the_node(make_up, archives):
    # Given an endpoint that answers
    up = make_up().start()
    first, second = (up.api.register("sum", archive) for archive in archives)
    up.api.apply(spec(sum=f"sum/{first}"))
    until(lambda: up.predict() == 110)
    pid = up.node_pid()
    # When control is killed, in the middle of an upload
    up.kill()
    half = up.home / "uploads" / "half.penstock"
    half.write_bytes(b"PK")
    # Then answers go on, and the next control adopts the node instead of starting another
    assert up.predict() == 110
    up.start()
    assert up.node_pid() == pid and f"process {pid}" in up.said()
    assert not half.exists()
    until(lambda: up.events("node-adopted"))
    # And it follows the new control
    up.api.apply(spec(sum=f"sum/{second}"))
    until(lambda: up.predict() == 210)
    # And a node that is not a child is drained, too
    assert up.stop() == 0
    until(lambda: is_gone(pid))


def test_a_node_that_is_killed_is_started_again(make_up, archives):
    up = make_up().start()
    up.api.register("sum", archives[0])
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    pid = up.node_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: up.node_pid() != pid and up.predict() == 110)
    # The adopted one, too
    up.kill()
    up.start()
    pid = up.node_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: up.node_pid() != pid and up.predict() == 110)


def test_control_is_away_and_the_node_starts_again_by_itself(make_up, archives):
    # Given a node that followed control, both killed
    up = make_up().start()
    up.api.register("sum", archives[0])
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    up.kill()
    os.kill(up.node_pid(), signal.SIGKILL)
    # When the node is started without control, then it answers with what it kept
    node = subprocess.Popen(
        [sys.executable, "-m", "penstock", "node", "--home", str(up.home), "--port", str(up.node_port),
         "--processes", "1", "--control", f"http://127.0.0.1:{up.port}",
         "--key-file", str(up.home / "nodes/local/control.key")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: up.predict() == 110)
    # And the next `up` adopts it
    up.start()
    assert up.node_pid() == node.pid
    assert up.stop() == 0
    assert node.wait() == 0


def test_a_second_up_in_one_home_is_refused(make_up):
    up = make_up().start()
    done = subprocess.run(up.command(), capture_output=True, text=True)
    assert done.returncode == 1 and "[already-up]" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(make_up):
    up, other = make_up().start(), make_up()
    other.port = up.port
    other.home.mkdir()
    done = subprocess.run(other.command(), capture_output=True, text=True)
    assert done.returncode == 1 and "[port-taken]" in done.stderr and "Traceback" not in done.stderr


def test_a_node_that_was_told_something_else_is_neither_kept_nor_killed(make_up):
    up = make_up().start()
    pid = up.node_pid()
    up.kill()
    kept, up.node_port = up.node_port, free_port()
    done = subprocess.run(up.command(), capture_output=True, text=True)
    assert done.returncode == 1 and "[other-node-running]" in done.stderr and str(kept) in done.stderr
    assert psutil.pid_exists(pid)


def test_two_nodes_converge_and_one_that_cannot_load_keeps_what_it_has(make_up, make_node, archives):
    up = make_up().start()
    for archive in archives:
        up.api.register("sum", archive)
    node = make_node(name="west-1")
    key = node.directory / "key"
    key.write_text(up.api.post("/v1/keys", {"subject": "node:west-1", "role": "viewer"}, 201)["text"])
    following = Following(control=f"http://127.0.0.1:{up.port}", key_file=key, report_s=0.2)
    node.settings = msgspec.structs.replace(
        node.settings, following=following, routes=node.settings.state / "followed.json"
    )
    node.start(wait="live")
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    until(lambda: set(up.api.get("/v1/status")["convergence"]["serving"]) == {"local", "west-1"})
    # When the second node cannot load a version
    digest = up.api.get("/v1/versions?ref=sum/2")["digest"]
    damaged = node.settings.bundles / digest.removeprefix("sha256:")
    damaged.mkdir(parents=True)
    (damaged / "manifest.json").write_text("{}")
    done = up.api.apply(spec(sum="sum/2"))
    # Then it says why and answers as before, and the other one goes on
    until(lambda: up.predict() == 210)
    told = up.api.get(f"/v1/generations/{done['generation']}/convergence?wait_s=60")
    assert told["refused"] == ["west-1"]
    # And whoever waits for the nodes is told by name who serves it, and who does not
    file = up.home / "penstock.yaml"
    file.write_text(json.dumps(spec(sum="sum/2")))
    waited = subprocess.run(
        [sys.executable, "-m", "penstock", "apply", file, "--wait", "--home", str(up.home),
         "--server", f"http://127.0.0.1:{up.port}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert waited.returncode == 1
    assert "is served by local\n" in waited.stdout and "refused by west-1" in waited.stdout
    assert set(told["problems"]) == {"west-1"} and told["problems"]["west-1"]["sum"]
    assert node.post("/v2/models/sum/infer", summing_body())[2]["outputs"][0]["data"] == [110]
    # When it can, and there is something new to load, then it converges
    shutil.rmtree(damaged)
    done = up.api.apply(spec(sum={"model": "sum/2", "limits": {"max_batch_rows": 8}}))
    until(lambda: up.api.get(f"/v1/generations/{done['generation']}/convergence")["behind"] == [])
    until(lambda: node.post("/v2/models/sum/infer", summing_body())[2]["outputs"][0]["data"] == [210])


def test_a_key_that_is_confined_posts_outcomes_of_its_endpoints_requests_alone(make_up, archives):
    # Given two endpoints that answered, and a key for one of them
    up = make_up().start()
    up.api.register("sum", archives[0])
    up.api.apply(spec(sum="sum/1", other="sum/1"))
    until(lambda: up.predict() == up.predict("other") == 110)
    shop = up.api.as_role("viewer", endpoints=["sum"])
    own, others = (asked_with_id(up, endpoint, f"r-{endpoint}") for endpoint in ("sum", "other"))

    def post(*request_ids):
        outcomes = [{"request_id": one, "value": True} for one in request_ids]
        status, _, answer = shop.request("POST", "/v1/outcomes", {"outcomes": outcomes})
        return status, answer.get("code") or answer["accepted"]

    # Then its own are taken as soon as they are in the log
    until(lambda: post(own) == (202, 1))
    # And neither others' nor unknown ones, nor a batch with one of them; both are told the same
    assert post(others) == post("r-unknown") == post(own, others) == (403, "endpoint-forbidden")
    # And an id that is another endpoint's as well is nobody's
    asked_with_id(up, "other", own)
    until(lambda: post(own) == (403, "endpoint-forbidden"))
    # And who is not confined posts them all
    up.api.post("/v1/outcomes", {"outcomes": [{"request_id": others, "value": True}]}, 202)


def asked_with_id(up, endpoint, request_id):
    headers = {"x-request-id": request_id}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", up.node_port)) as connection:
        connection.request("POST", f"/v2/models/{endpoint}/infer", json.dumps(summing_body()), headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        assert answer.getheader("x-request-id") == request_id, answer.getheaders()
    return request_id
