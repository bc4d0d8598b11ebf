"""`penstock log` and `penstock replay`, over a log as a node leaves it."""

import json
import subprocess

import numpy as np
import pytest
from tests.predlog.logged import block, write_segment

from penstock.predlog.record import encode_block

ENDLESS = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b"


def recorded(bundles, rows=6, **changes):
    """Answers of the bundle `sum`, as a node records them."""
    x = np.random.default_rng(1).random((rows, 2))
    inputs, outputs = {"x": x}, {"predictions": x.sum(axis=1)}
    return block(rows, endpoint="sum", version="sum/1", inputs=inputs, outputs=outputs, **changes)


@pytest.fixture
def nodes(home):
    """Where a node of this home writes."""
    return home / "state" / "predlog" / "local"


@pytest.fixture
def log(nodes, bundles):
    """Six answered calls."""
    write_segment(nodes, [recorded(bundles)])


def test_ask_tell_and_ask_again(run, log, tmp_path):
    asked = "SELECT version, count(*) AS calls FROM predictions GROUP BY version"
    assert run("log", "query", asked).stdout == "version  calls\nsum/1    6\n"
    assert json.loads(run("log", "query", asked, "--json").stdout) == [{"version": "sum/1", "calls": 6}]
    (tmp_path / "labels.csv").write_text("request_id,value\nr0,1\nr1,0\nnobody,1\n")
    told = json.loads(run("log", "outcomes", "labels.csv", "--json").stdout)
    assert told == {"outcomes": 3, "again": False, "unknown": 1}
    assert "taken before" in run("log", "outcomes", "labels.csv").stdout
    assert run("log", "compact").stdout == "6 rows of 1 segment, 1 file of outcomes\n"
    run("log", "outcomes", "--request-id", "r1", "--value", "true", "--name", "churned")
    asked = 'SELECT request_id, "outcome.label", "outcome.churned" FROM joined ORDER BY time LIMIT 2'
    assert json.loads(run("log", "query", asked, "--json").stdout) == [
        {"request_id": "r0", "outcome.label": 1.0, "outcome.churned": None},
        {"request_id": "r1", "outcome.label": 0.0, "outcome.churned": True},
    ]
    assert json.loads(run("log", "query", "FROM outcomes", "--as-of", "2000-01-01", "--json").stdout) == []


def test_the_end_of_the_log_and_a_file_of_it(run, log, tmp_path):
    lines = run("log", "tail", "-n", "2").stdout.splitlines()
    assert [line.split()[7] for line in lines] == ["r4[0]", "r5[0]"]
    assert [json.loads(line)["request_id"] for line in run("log", "tail", "-n", "1", "--json").stdout.splitlines()] == [
        "r5"
    ]
    assert run("log", "export", "all.csv", "--view", "predictions").stdout == "6 rows in all.csv\n"
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 7


def test_what_a_client_sent_moves_no_cursor(run, nodes):
    write_segment(nodes, [block(1, inputs={"city": np.array(["\x1b[2J\n"], object)})])
    for arguments in (["log", "tail"], ["log", "query", "FROM predictions"]):
        assert "\x1b" not in run(*arguments).stdout
        assert "\\x1b[2J\\n" in run(*arguments).stdout


def test_following_shows_what_comes(environ, nodes, bundles):
    writer = write_segment(nodes, [recorded(bundles, 1)], close=False)
    with subprocess.Popen(
        ["penstock", "log", "tail", "--follow", "--json"], env=environ, stdout=subprocess.PIPE, text=True
    ) as tail:
        try:
            assert json.loads(tail.stdout.readline())["request_id"] == "r0"
            writer.append([encode_block(recorded(bundles, 1, prefix="next"))])
            assert json.loads(tail.stdout.readline())["request_id"] == "next0"
        finally:
            # Not SIGINT: a shell that runs the tests in the background has it ignored, for all below it.
            tail.terminate()
    writer.close()


def test_another_version_answers_again(run, log, bundles):
    same = json.loads(run("replay", bundles / "sum.penstock", "--json").stdout)
    assert (same["rows"], same["changed"], same["flips"]) == (6, 0, [])
    other = run("replay", bundles / "half.penstock", "--endpoint", "sum").stdout.splitlines()
    assert other[0] == "6 rows answered again, 0 changed (0.00%)"
    assert other[1].startswith("scores moved by at most 0.")
    assert len(other) == 8


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["log", "query", "SELECT"], "invalid-query"),
        (["log", "query", "FROM read_text('/etc/passwd')"], "query-refused"),
        (
            ["log", "query", "SELECT count(*) FROM range(100000000) a, range(100000) b", "--timeout", "0.1"],
            "query-timeout",
        ),
        (["log", "outcomes", "none.csv"], "unknown-file"),
        (["log", "outcomes", "--request-id", "r0", "--value", "1", "--name", "../x"], "invalid-outcome"),
        (["log", "export", "a.xlsx"], "invalid-choice"),
        (["log", "tail", "--log", "gs://bucket"], "unsupported-log"),
        (["replay", "none.penstock"], "unknown-bundle"),
        (["replay", "churn"], "unknown-model"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code(run, arguments, code):
    assert run(*arguments, code=1).stderr.splitlines()[-1].endswith(f"[{code}]")


@pytest.mark.parametrize(
    "arguments",
    [["log"], ["log", "outcomes"], ["log", "outcomes", "--request-id", "r0"], ["log", "tail", "--since", "soon"]],
)
def test_wrong_usage(run, arguments):
    run(*arguments, code=2)


def test_nothing_recorded_to_replay(run, bundles):
    assert "no-records" in run("replay", bundles / "sum.penstock", code=1).stderr


def test_a_segment_that_stays_is_told_and_fails(run, nodes, log):
    strange = write_segment(nodes, [], sequence=7).path
    strange.write_bytes(b"something else altogether")
    done = run("log", "compact", code=1)
    assert "6 rows of 1 segment" in done.stdout
    assert strange.name in done.stderr
    assert done.stderr.splitlines()[-1].endswith("[log-waiting]")


def test_without_duckdb_it_says_what_to_install(run, tmp_path, environ):
    (tmp_path / "duckdb.py").write_text("raise ModuleNotFoundError('No module named duckdb', name='duckdb')")
    environ["PYTHONPATH"] = str(tmp_path)
    assert "pip install 'penstock[log]'" in run("log", "query", "FROM predictions", code=1).stderr
