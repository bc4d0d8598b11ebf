"""`penstock doctor` and `penstock logs` beside a real `penstock up`."""

import json
import subprocess
import sys

import pytest
from tests.api.conftest import Up
from tests.serving.nodes import free_port, until

from penstock.serving.log_file import numbered, rotate


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    # Short: the sockets of model processes lie below it.
    one = Up(tmp_path_factory.mktemp("h"))
    one.start()
    until(lambda: one.api.get("/v1/status")["convergence"]["serving"] == ["local"])
    yield one
    one.close()


def penstock(*arguments, code=0):
    done = subprocess.run([sys.executable, "-m", "penstock", *map(str, arguments)], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def doctor(up, *more, code=0):
    ports = ["--port", up.port, "--node-port", up.node_port]
    out = penstock("doctor", "--home", up.home, *ports, "--json", *more, code=code)
    return {one["what"]: one for one in json.loads(out)}


def test_the_doctor_finds_nothing_wrong_beside_up(up):
    found = doctor(up)
    assert all(one["ok"] for one in found.values())
    assert set(found) >= {"python", "home", "home mode", "disk", "database", "artifacts", "node", "generation", "keys"}
    assert "ours" in found["control's port"]["found"] and "ours" in found["node's port"]["found"]


def test_the_doctor_knows_the_ports_of_what_runs(up):
    found = {one["what"]: one for one in json.loads(penstock("doctor", "--home", up.home, "--json"))}
    assert found["control's port"]["found"] == f"{up.port} is ours"
    assert found["node's port"]["found"] == f"{up.node_port} is ours"


def test_the_doctor_says_what_to_do(up, tmp_path):
    (up.home).chmod(0o755)
    try:
        found = doctor(up, code=1)
    finally:
        (up.home).chmod(0o700)
    assert "chmod 700" in found["home mode"]["do"]
    up.api.post("/v1/keys", {"subject": "soon", "role": "viewer", "expires_in_s": 60}, 201)
    assert "soon" in doctor(up, code=1)["keys"]["found"]


def test_an_empty_home_is_told_of(tmp_path):
    empty = Up(tmp_path / "none")
    found = doctor(empty, code=1)
    assert not found["home"]["ok"] and "penstock up" in found["database"]["do"]
    assert not (tmp_path / "none").exists()


def test_another_program_on_the_port_is_told_of(up, tmp_path):
    other = Up(tmp_path)
    other.port, other.node_port = up.port, free_port()
    found = doctor(other, code=1)
    assert "another program" in found["control's port"]["found"] and found["node's port"]["ok"]


def test_a_database_of_a_newer_penstock_is_told_of(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "registry.db") as database:
        database.execute("CREATE TABLE penstock_schema (version_num TEXT)")
        database.execute("INSERT INTO penstock_schema VALUES ('9999')")
    database.close()
    assert "newer" in doctor(Up(tmp_path), code=1)["database"]["do"]


def test_logs_are_of_both_and_in_order(up):
    def lines(*options):
        return [json.loads(line) for line in penstock("logs", "--home", up.home, "--json", *options).splitlines()]

    found = until(lambda: {one["from"] for one in lines()} == {"control", "node"} and lines())
    assert [one["time"] for one in found] == sorted(one["time"] for one in found)
    assert not [one for one in found if one["event"] == "request"]
    assert [one for one in lines("--requests", "--lines", "1000") if one["event"] == "request"]
    assert {one["from"] for one in lines("node")} == {"node"} and len(lines("--lines", "1")) == 1
    assert "control" in penstock("logs", "--home", up.home).split()


def test_logs_go_on_with_what_is_written(up):
    command = [sys.executable, "-m", "penstock", "logs", "--home", str(up.home), "-n", "0", "-f", "--requests"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        # Asked again and again, because nobody tells when it has begun to look.
        seen = until(lambda: up.api.get("/v1/models?limit=7") and following.stdout.readline())
        assert "request" in seen
        following.terminate()


def test_a_log_is_moved_aside_when_it_is_large(tmp_path):
    path = tmp_path / "node.log"
    with path.open("ab") as log:
        for text in (b"1\n", b"2\n", b"3\n"):
            log.write(text)
            log.flush()
            assert not rotate(path, most_bytes=100, keep=2)
            assert rotate(path, most_bytes=1, keep=2)
    assert path.read_bytes() == b""
    assert numbered(path, 1).read_bytes() == b"3\n" and numbered(path, 2).read_bytes() == b"2\n"
    assert not numbered(path, 3).exists()
