"""The command line at a control on another home: all that it can do there, files for gates included."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tests.api.conftest import Up


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    one = Up(tmp_path_factory.mktemp("h"))
    one.start()
    yield one
    one.close()


@pytest.fixture
def at(up, tmp_path):
    """`at(words…, code=0)`: the command, in a home of its own, at the control of `up`."""

    def run(*words, code=0):
        server = ["--server", f"http://127.0.0.1:{up.port}", "--key", up.api.key]
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *map(str, words), "--home", str(tmp_path / "elsewhere"), *server],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr and done.returncode == code, (done.stdout, done.stderr)
        return done

    return run


GATED = """version: 1
models: {sum: {bundle: sum.penstock}}
endpoints: {sum: {model: sum}}
gates:
  budget: false
  robustness: false
  schema: false
  quality: {data: rows.csv, target: total, metrics: {r2: {min: 0.9}}}
  custom: {files: [own.py]}
"""


def test_gates_get_their_files_wherever_they_run(at, up, bundles, tmp_path):
    # Given a spec whose gates name rows and a check beside it
    (tmp_path / "sum.penstock").symlink_to(bundles / "sum.penstock")
    values = np.random.default_rng(1).random((100, 2))
    lines = [f"{a},{b},{a + b}" for a, b in values.tolist()]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,total", *lines]))
    (tmp_path / "own.py").write_text("def check_it(candidate):\n    assert candidate is not None\n")
    (tmp_path / "penstock.yaml").write_text(GATED)
    # When it is planned, then nothing is sent; when it is applied, both are there and the gates have used them
    at("plan")
    assert sent(up) == []
    applied = at("apply")
    assert "sum/1 for sum: pass" in applied.stderr
    assert len(sent(up)) == 2
    assert "nothing to change" in at("plan").stdout
    at("apply")
    assert len(sent(up)) == 2, "what is there is not sent again"
    # And another file of the same name is another file
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,total", *lines[:60]]))
    at("apply")
    assert len(set(sent(up))) == len(sent(up)) == 3
    # And one that is not there is said before anything is asked
    (tmp_path / "own.py").unlink()
    assert "[unknown-file]" in at("apply", code=1).stderr


def test_a_version_is_checked_there_with_files_from_here(at, up, bundles, tmp_path):
    # Given a registered version, and rows and a check that are here alone
    at_home = ["--home", up.home]
    for name in ("half", "sum"):
        up.api.post(f"/v1/models/checked-{name}/versions", (bundles / f"{name}.penstock").read_bytes(), 201)
    values = np.random.default_rng(1).random((100, 2))
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,total", *(f"{a},{b},{a + b}" for a, b in values.tolist())]))
    (tmp_path / "own.py").write_text("def check_it(candidate):\n    assert candidate.champion is not None\n")
    (tmp_path / "plan.yaml").write_text("{budget: false, robustness: false}")
    gates = [
        "--gates",
        "plan.yaml",
        "--data",
        "rows.csv",
        "--target",
        "total",
        "--metric",
        "r2>=0.9",
        "--checks",
        "own.py",
    ]
    # When it is checked, then the verdict is the exit status, and the report is stored with it
    good = at("check", "checked-sum", "--against", "checked-half/1", *gates, "--json")
    bad = at("check", "checked-half", "--against", "checked-sum/1", *gates, "--json", code=1)
    verdicts = {one["gate"]: one["verdict"] for one in json.loads(bad.stdout)["findings"]}
    assert verdicts == {"schema": "pass", "golden": "pass", "quality": "fail", "custom": "pass"}
    assert up.api.get("/v1/models/checked-sum/versions/1/reports") == [json.loads(good.stdout)]
    shown = subprocess.run(
        [sys.executable, "-m", "penstock", "show", "checked-half/1", *map(str, at_home)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "quality fail" in shown.stdout
    assert "checked-sum/1" in at("check", "checked-sum/1", "--gates", "plan.yaml").stdout
    assert "[unknown-model]" in at("check", "nobody", code=1).stderr
    at("check", bundles / "sum.penstock", code=2)


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        ("sha256:" + "0" * 64, "wrong-digest"),
        ("sha256:..", "invalid-digest"),
        ("md5:" + "0" * 64, "invalid-digest"),
        ("sha256:" + "0" * 64 + "%2Frows.csv", "unknown-address"),
    ],
)
def test_a_file_is_what_its_digest_says(up, digest, code):
    status, _, answer = up.api.request("PUT", f"/v1/gate-files/{digest}", b"some rows")
    assert status in (400, 404) and answer["code"] == code, answer
    viewer = up.api.as_role("viewer")
    assert viewer.request("PUT", f"/v1/gate-files/{digest}", b"rows")[0] in (403, 404)


def sent(up):
    """Which files of gates were sent, by the log of control."""
    return [one["path"] for one in up.events("request") if (one["method"], one["status"]) == ("PUT", 201)]


def test_keys_approvals_and_aliases(at, up, bundles, tmp_path):
    made = json.loads(at("keys", "create", "shop", "--role", "viewer", "--json").stdout)
    assert made["key"]["id"] in at("keys", "list").stdout
    at("keys", "revoke", made["key"]["id"])
    (tmp_path / "half.penstock").symlink_to(bundles / "half.penstock")
    text = "version: 1\nmodels: {half: {bundle: half.penstock, aliases: {champion: bundle}}}\ngates: {budget: false}\n"
    (tmp_path / "penstock.yaml").write_text(text + "protected_aliases: [champion]\nendpoints: {}\n")
    waiting = at("apply", code=3)
    number = waiting.stderr.split("penstock approve ")[1].split()[0]
    assert f"approval {number}" in at("status").stdout
    assert "[approval-forbidden]" in at("approve", number, code=1).stderr
    assert "refused" in at("refuse", number).stdout
