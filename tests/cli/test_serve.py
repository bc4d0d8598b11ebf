"""`penstock serve` as a process: it answers, and a second one on its port changes nothing."""

import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import penstock


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def serving(arguments, environ):
    command = ["penstock", "serve", *map(str, arguments), "--processes", "1"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while '"serving"' not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_refused_second_node_does_not_change_what_the_first_serves(run, bundles, environ, port):
    with serving([bundles / "sum.penstock", "--port", port], environ):
        followed = Path(environ["PENSTOCK_HOME"], "nodes", f"serve-{port}", "served.json")
        before = followed.read_bytes()
        refused = run("serve", bundles / "half.penstock", "--port", port, code=1)
        assert refused.stderr.endswith("[node-running]\n")
        assert followed.read_bytes() == before
        with penstock.Client(f"http://127.0.0.1:{port}") as client:
            assert client.models() == ["sum"]


def test_a_registered_version_is_served_under_its_name(run, bundles, environ, port):
    run("register", bundles / "half.penstock", "--alias", "champion")
    with (
        serving(["half@champion", "--port", port, "--name", "share"], environ),
        penstock.Client(f"http://127.0.0.1:{port}") as client,
    ):
        assert client.models() == ["share"]
        assert client.metadata("share")["versions"] == ["1"]
