"""A node that follows control: takes what is new, says what became of it, and needs nobody to go on."""

import signal

import msgspec
import pytest
from tests.serving.controls import SmallControl
from tests.serving.nodes import document, endpoint, summing_body, until

from penstock.serving.settings import Following

SUM = "/v2/models/sum/infer"


@pytest.fixture
def control():
    small = SmallControl().start()
    yield small
    small.stop()


@pytest.fixture
def follow(make_node, control):
    """`follow(name)`: a node that follows `control`, not started yet."""

    def make(name="west-1", key="secret", **settings):
        node = make_node(name=name, **settings)
        key_file = node.directory / "key"
        key_file.write_text(key + "\n")
        following = Following(control=control.url, key_file=key_file, report_s=0.2)
        routes = node.settings.state / "followed.json"
        node.settings = msgspec.structs.replace(node.settings, routes=routes, following=following)
        return node

    return make


def answer(node):
    status, _, body = node.post(SUM, summing_body())
    return body["outputs"][0]["data"][0] if status == 200 else status


@pytest.mark.parametrize("processes", [1, 2])
def test_it_serves_what_control_says_and_reports_it(follow, control, summing_1, summing_2, processes):
    node = follow(processes=processes).start(wait="live")
    first = document(1, sum=endpoint(summing_1))
    control.publish(first)
    report = control.until_report("west-1", generation=1, ready=True)
    assert report == {
        "generation": 1, "digest": first.digest(), "state": "serving", "problems": {},
        "address": f"http://127.0.0.1:{node.port}", "processes": processes, "ready": True,
    }  # fmt: skip
    assert answer(node) == 110
    control.publish(document(2, sum=endpoint(summing_2)))
    control.until_report("west-1", generation=2)
    assert answer(node) == 210


def test_several_nodes_converge(follow, control, summing_1, summing_2):
    nodes = [follow(name).start(wait="live") for name in ("west-1", "west-2")]
    control.publish(document(1, sum=endpoint(summing_1)))
    control.publish(document(2, sum=endpoint(summing_2)))
    for node in nodes:
        control.until_report(node.settings.name, generation=2, state="serving")
        assert answer(node) == 210


def test_a_version_that_cannot_be_loaded_is_told_and_the_old_one_stays(follow, control, summing_1, summing_2):
    control.publish(document(1, sum=endpoint(summing_1)))
    node = follow().start()
    broken = endpoint(summing_2)
    broken = msgspec.structs.replace(
        broken, arms=(msgspec.structs.replace(broken.arms[0], bundle="sha256:" + "0" * 64),)
    )
    control.publish(document(2, sum=broken))
    report = control.until_report("west-1", generation=2)
    assert report["state"] == "refused" and set(report["problems"]) == {"sum"} and report["problems"]["sum"]
    assert answer(node) == 110
    control.publish(document(3, sum=endpoint(summing_2)))
    assert control.until_report("west-1", generation=3)["state"] == "serving"
    assert answer(node) == 210


def test_without_control_it_answers_and_starts_again(follow, control, summing_1, summing_2):
    control.publish(document(1, sum=endpoint(summing_1)))
    node = follow().start()
    control.until_report("west-1", generation=1)
    control.stop()
    assert answer(node) == 110
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    node.start()
    assert answer(node) == 110
    node.until_event("control-away")
    # Control comes back, with news.
    control.publish(document(2, sum=endpoint(summing_2)))
    control.start()
    control.until_report("west-1", generation=2)
    assert answer(node) == 210
    node.until_event("control-back")


@pytest.mark.parametrize("restart", [False, True])
def test_an_older_generation_is_refused(follow, control, summing_1, summing_2, restart):
    control.publish(document(5, sum=endpoint(summing_1)))
    node = follow().start()
    control.until_report("west-1", generation=5)
    if restart:
        node.stop()
    control.publish(document(4, sum=endpoint(summing_2)))
    if restart:
        node.start()
    report = control.until_report("west-1", state="refused", generation=5)
    assert "older-generation" in report["problems"]["*"]
    assert answer(node) == 110
    control.publish(document(6, sum=endpoint(summing_2)))
    control.until_report("west-1", generation=6, state="serving")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", "invalid-routes"),
        (b'{"format": 1, "generation": 2, "endpoints": {}, "new": 1}', "invalid-routes"),
        (b'{"format": 99, "generation": 2, "endpoints": {}}', "newer-format"),
        (b"\xff\x00", "invalid-routes"),
    ],
)
def test_what_is_no_document_is_refused_and_told(follow, control, summing_1, data, code):
    control.publish(document(1, sum=endpoint(summing_1)))
    node = follow().start()
    control.publish_bytes(data)
    report = control.until_report("west-1", state="refused")
    assert code in report["problems"]["*"] and report["generation"] == 1
    assert answer(node) == 110


def test_a_wrong_key_is_logged_and_a_new_one_is_read(follow, control, summing_1):
    control.publish(document(1, sum=endpoint(summing_1)))
    node = follow(key="old").start(wait="live")
    assert "401" in node.until_event("control-away")["reason"]
    node.settings.following.key_file.write_text(control.key)
    until(lambda: answer(node) == 110)


def test_a_missing_key_file_is_logged(follow, control, summing_1):
    control.publish(document(1, sum=endpoint(summing_1)))
    node = follow()
    node.settings.following.key_file.unlink()
    node.start(wait="live")
    node.until_event("control-away")
    node.settings.following.key_file.write_text(control.key)
    until(lambda: answer(node) == 110)
