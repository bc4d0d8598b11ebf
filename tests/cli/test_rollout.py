"""`penstock rollout`, `rollback`, `releases` and `experiment report`, on the database and at a running control."""

import json
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import pytest
from tests.api.conftest import Up, archives  # noqa: F401 - a fixture

import penstock

PLAN = """strategy: canary
steps: [20]
bake_s: 0.1
every_s: 0.2
least_samples: 20
metrics: {errors: {kind: errors, margin: 0.3}}
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory, archives):  # noqa: F811 - the fixture
    """A control and its node; sum/1 is served, and sum/2 is registered."""
    one = Up(tmp_path_factory.mktemp("h")).start()
    for archive in archives:
        one.api.register("sum", archive)
    one.api.apply({"version": 1, "endpoints": {"sum": {"model": "sum/1"}}})
    yield one
    one.close()


@pytest.fixture
def at(up, tmp_path):
    """`at(words…, code=0)`: the command at that control."""

    def run(*words, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *map(str, words), "--home", str(tmp_path / "elsewhere"),
             "--server", f"http://127.0.0.1:{up.port}", "--key", up.api.key],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr and done.returncode == code, (done.stdout, done.stderr)
        return done

    return run


def test_from_a_start_to_a_report_and_back(at, up, tmp_path):
    # Given a plan in a file
    (tmp_path / "plan.yaml").write_text(PLAN)
    at("rollout", "start", "sum", "sum/2", "--plan", "plan.yaml", "--reason", "faster")
    assert "rollout-running" in at("rollout", "start", "sum", "sum/2", "--strategy", "blue-green", code=1).stderr
    assert "paused" in at("rollout", "pause", "sum").stdout
    assert "rollout-not-possible" in at("rollout", "pause", "sum", code=1).stderr
    at("rollout", "resume", "sum")
    # When it is called, then it is promoted, and every decision is told
    following = subprocess.Popen(
        [sys.executable, "-m", "penstock", "rollout", "status", "sum", "--watch", "--server",
         f"http://127.0.0.1:{up.port}", "--key", up.api.key, "--home", str(tmp_path / "elsewhere")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while following.poll() is None:
        up.predict()
        # Not as fast as it can: control reads all of it, on the same two cores.
        threading.Event().wait(0.01)
    told = following.stdout.read()
    following.stdout.close()
    assert following.returncode == 0, told
    for said in ("canary to sum/2", "paused by admin", "resumed by admin", "step 1: 20 %", "promoted: not-worse"):
        assert said in told
    assert "rollout 1 (canary) of sum: sum/1 -> sum/2, promoted" in at("rollout", "list").stdout
    # And the report has every arm, in a page that needs nothing else
    said = at("experiment", "report", "sum", "--out", "sum.html").stdout
    assert "sum/1" in said and "all together: not-worse" in said
    page = (tmp_path / "sum.html").read_text()
    assert "step 1: 20 %" in page and "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    at("experiment", "report", "sum", "--out", "sum.png")
    assert (tmp_path / "sum.png").read_bytes()[:4] == b"\x89PNG"
    assert "invalid-choice" in at("experiment", "report", "sum", "--out", "sum.pdf", code=1).stderr
    # And what was served before comes back in one command, and only once asked for
    found = json.loads(at("releases", "sum", "--json").stdout)
    assert [one["content"]["arms"][0]["version"] for one in found] == ["sum/2", "sum/1"]
    assert "sum/2, rolled-back: rolled back to release" in at("rollback", "sum", "--reason", "rude").stdout
    assert "rolled-back" in at("status").stdout
    assert "unknown-rollout" in at("rollout", "status", "nothing", code=1).stderr


def test_the_same_from_python(up, tmp_path):
    where = {"home": tmp_path, "server": f"http://127.0.0.1:{up.port}", "key": up.api.key}
    with penstock.rollouts(**where) as rollouts:
        both = {"sum": up.api.get("/v1/spec")["endpoints"]["sum"], "other": {"model": "sum/1"}}
        up.api.apply({"version": 1, "endpoints": both})
        done = rollouts.start("other", "sum/2", {"strategy": "shadow"}, reason="only looking")
        assert done.state == "done"
        assert rollouts.newest("other").rollout.plan.strategy == "shadow"
        assert rollouts.pause("other").rollout.state.hold == "paused"
        rollouts.resume("other")
        with pytest.raises(penstock.Refused, match="nothing-counted"):
            rollouts.report("other")
        assert rollouts.abort("other", reason="seen enough").rollout.state.end == "aborted"
        assert rollouts.retry("other").rollout.state.phase == "loading"
        assert rollouts.rollback("other").rollout.state.end == "aborted"
        assert [event.who for event in rollouts.events("other")] != []
        assert len(rollouts.releases("other")) == 1
        with pytest.raises(penstock.InvalidInput, match="invalid-rollout"):
            rollouts.start("other", "sum/2", {"strategy": "slowly"})
        with pytest.raises(penstock.NotFound, match="unknown-rollout"):
            rollouts.newest("nothing")
