"""`penstock serve --model-base-path` and `--model-config-file` as processes: folders are followed under load."""

import http.client
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.linear_model import LinearRegression
from tests.cli.folder_nodes import LIMIT_S, until

import penstock

VERSIONS = 4


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Bundles by version: version N answers N times the sum of a row."""
    folder, rows = tmp_path_factory.mktemp("archives"), np.random.default_rng(0).random((30, 2))
    return {
        n: penstock.pack(LinearRegression().fit(rows, rows @ [n, n]), rows, name="m", out=folder / f"{n}.penstock").path
        for n in range(1, VERSIONS + 1)
    }


def add(base, version, archive):
    """A version as exporters write it: beside its place, then renamed."""
    partial = base / f"{version}.partial"
    partial.mkdir(parents=True)
    shutil.copy(archive, partial)
    partial.rename(base / str(version))


@pytest.mark.parametrize("processes", [1, 2])
def test_versions_come_and_go_under_load_and_nothing_is_lost(serve, archives, tmp_path, processes):
    base = tmp_path / "models" / "m"
    add(base, 1, archives[1])
    answers, failures, stop = [], [], threading.Event()

    def call(node):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=LIMIT_S)
        while not stop.is_set():
            try:
                connection.request("POST", "/v1/models/m:predict", json.dumps({"instances": [[1, 2]]}))
                answer = connection.getresponse()
                body = json.loads(answer.read())
                answers.append((answer.status, answer.getheader("penstock-version"), body))
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
        connection.close()

    with serve("--model-base-path", base, "--model-name", "m", processes=processes) as node:
        callers = [threading.Thread(target=call, args=(node,)) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            for version in range(2, VERSIONS + 1):
                add(base, version, archives[version])
                until(lambda version=version: node.states() == {str(version): "AVAILABLE"}, f"version {version}")
                shutil.rmtree(base / str(version - 1))
            shutil.rmtree(base / str(VERSIONS))
            # Back to an older number: it is the newest that is there.
            add(base, 1, archives[1])
            until(lambda: node.states() == {"1": "AVAILABLE"}, "version 1")
        finally:
            stop.set()
            for caller in callers:
                caller.join()
    assert not failures
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {f"m/{n}" for n in range(1, VERSIONS + 1)}
    for _, version, body in answers:
        assert body["predictions"] == pytest.approx([3.0 * int(version[2:])])


def test_a_config_file_with_policies_and_labels(serve, archives, tmp_path):
    for version in (1, 2, 3):
        add(tmp_path / "first", version, archives[version])
    add(tmp_path / "second", 7, archives[1])
    (tmp_path / "models.config").write_text(
        """
        model_config_list {
          config {
            name: "first" base_path: "first"
            model_version_policy { specific { versions: 1 versions: 3 } }
            version_labels { key: "stable" value: 1 }
          }
          config { name: "second" base_path: "%s" }
        }
        """
        % (tmp_path / "second")
    )
    rows = {"instances": [[1, 2]]}
    with serve("--model_config_file", "models.config") as node:
        until(lambda: node.states("second") and node.states("first"), "both models")
        assert node.states("first") == {"3": "AVAILABLE", "1": "AVAILABLE"}
        assert node.ask("POST", "/v1/models/first:predict", rows)[1]["predictions"] == pytest.approx([9.0])
        assert node.ask("POST", "/v1/models/first/labels/stable:predict", rows)[1]["predictions"] == pytest.approx(
            [3.0]
        )
        assert node.ask("POST", "/v1/models/first/versions/1:predict", rows)[1]["predictions"] == pytest.approx([3.0])
        assert node.ask("POST", "/v1/models/first/versions/2:predict", rows)[0] == 404
        assert node.ask("POST", "/v1/models/first/labels/canary:predict", rows)[0] == 404


def test_what_cannot_be_served_says_why_and_the_rest_goes_on(serve, archives, tmp_path):
    base = tmp_path / "m"
    add(base, 1, archives[1])
    with serve("--model_base_path", base) as node:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\x00")
        until(lambda: node.states("default").get("2") == "END", "the reason")
        versions = node.ask("GET", "/v1/models/default")[1]["model_version_status"]
        told = {one["version"]: one for one in versions}
        assert told["1"]["state"] == "AVAILABLE"
        assert told["2"]["status"]["error_message"] and told["2"]["status"]["error_code"] != "OK"
        assert node.ask("POST", "/v1/models/default:predict", {"instances": [[1, 2]]})[0] == 200
        until(lambda: '"event":"version-held-back"' in node.log.read_text(), "the line in the log")


def test_a_node_is_ready_when_it_has_something_to_serve(serve, archives, tmp_path):
    base = tmp_path / "m"
    base.mkdir()
    with serve("--model-base-path", base, wait=False) as node:
        until(lambda: '"event":"serving"' in node.log.read_text(), "a node that listens")
        assert not node.ready()
        add(base, 1, archives[1])
        until(node.ready, "a ready node")


def test_a_restart_serves_at_once_and_other_folders_are_others(serve, archives, tmp_path, environ):
    add(tmp_path / "one", 1, archives[1])
    add(tmp_path / "two", 2, archives[2])
    with serve("--model-base-path", tmp_path / "one") as node:
        port = str(node.port)
        assert node.states("default") == {"1": "AVAILABLE"}
    with serve("--model-base-path", tmp_path / "one", "--port", port) as node:
        assert "version-prepared" not in node.log.read_text()
    with serve("--model-base-path", tmp_path / "two", "--port", port) as node:
        assert node.states("default") == {"2": "AVAILABLE"}
    state = Path(environ["PENSTOCK_HOME"], "nodes", f"models-{port}")
    assert json.loads((state / "served.json").read_bytes())["endpoints"]["default"]["arms"][0]["version"] == "default/2"


def test_the_watching_process_lives_and_dies_with_the_node(serve, archives, tmp_path):
    add(tmp_path / "m", 1, archives[1])
    with serve("--model-base-path", tmp_path / "m") as node:
        (watcher,) = node.watchers()
        watcher.kill()
        (another,) = until(lambda: [one for one in node.watchers() if one.pid != watcher.pid], "another one")
        add(tmp_path / "m", 2, archives[2])
        until(lambda: node.states("default") == {"2": "AVAILABLE"}, "version 2")
    assert not psutil.pid_exists(another.pid)


def test_a_killed_node_leaves_nobody_behind(serve, archives, tmp_path):
    add(tmp_path / "m", 1, archives[1])
    with pytest.raises(AssertionError), serve("--model-base-path", tmp_path / "m") as node:
        (watcher,) = node.watchers()
        os.kill(node.process.pid, signal.SIGKILL)
        node.process.wait(LIMIT_S)
        until(lambda: not watcher.is_running() or watcher.status() == psutil.STATUS_ZOMBIE, "the end of the watcher")


def test_one_thing_is_served(run, archives, tmp_path):
    (tmp_path / "broken.config").write_text("model_config_list {")
    (tmp_path / "binary.config").write_bytes(b"\xff")
    run("serve", code=2)
    run("serve", archives[1], "--model-base-path", tmp_path, code=2)
    run("serve", "--model-base-path", tmp_path, "--name", "m", code=2)
    run("serve", "--model-base-path", tmp_path, "--model-config-file", "broken.config", code=2)
    assert run("serve", "--model-base-path", tmp_path, "--model-name", "a/b", code=1).stderr.endswith(
        "[invalid-name]\n"
    )
    for name in ("broken.config", "binary.config"):
        assert run("serve", "--model-config-file", name, code=1).stderr.endswith("[invalid-model-config]\n")
