"""`penstock pack`, `inspect`, `verify` and `diff`, as people and machines call them."""

import json
import os
import shlex
import subprocess
import sys

import joblib
import pytest

_PENSTOCK = [sys.executable, "-c", "import sys; sys.argv[0] = 'penstock'; from penstock.cli.main import main; main()"]


def _run(*arguments, cwd):
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [*_PENSTOCK, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture(scope="module")
def folder(churn, people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    joblib.dump(churn, folder / "my model.joblib")
    people.to_csv(folder / "people.csv", index=False)
    (folder / "metrics.json").write_text('{"auc": 0.9}')
    return folder


@pytest.fixture(scope="module")
def packed(folder):
    return _run(
        "pack", "my model.joblib", "--name", "churn", "--sample", "people.csv", "--target", "left",
        "--allow-pickle", "we trained it", "--metrics", "metrics.json", "--metrics", "f1=0.5",
        "--parameters", "depth=3", "--parameters", "note=by hand", "--licence", "MIT", "--dtype", "income=FP32",
        "--sensitive", "age", cwd=folder,
    )  # fmt: skip


def test_pack_shows_what_it_proved(packed, folder):
    assert packed.returncode == 0, packed.stderr
    for word in ("kind", "rows compared", "largest difference", "labels equal", "1 row", "64 rows", "deterministic"):
        assert word in packed.stdout
    assert "recording golden rows" in packed.stderr
    assert (folder / "churn.penstock").is_file()


def test_inspect_tells_people_and_machines(packed, folder):
    told = _run("inspect", "churn.penstock", cwd=folder)
    assert "income FP32[-1]" in told.stdout
    assert "we trained it" in told.stdout
    manifest = json.loads(_run("inspect", "churn.penstock", "--json", cwd=folder).stdout)["manifest"]
    assert manifest["lineage"]["metrics"] == {"auc": 0.9, "f1": 0.5}
    assert (manifest["lineage"]["parameters"]["depth"], manifest["lineage"]["parameters"]["note"]) == (3, "by hand")
    assert manifest["licence"] == "MIT"
    assert [field["name"] for field in manifest["signature"]["inputs"] if field.get("sensitive")] == ["age"]


def test_a_refused_pickle_prints_the_line_to_repeat(folder):
    refused = _run(
        "pack", "my model.joblib", "--name", "again", "--sample", "people.csv", "--target", "left", cwd=folder
    )
    assert refused.returncode == 1
    assert "pickle-refused" in refused.stderr
    assert refused.stdout == ""
    (line,) = [line.strip() for line in refused.stderr.splitlines() if line.strip().startswith("penstock pack")]
    repeated = _run(*shlex.split(line)[1:], "--json", cwd=folder)
    assert repeated.returncode == 0, repeated.stderr
    assert json.loads(repeated.stdout)["path"] == "again.penstock"
    assert "…" not in repeated.stderr


def test_verify(packed, folder):
    assert json.loads(_run("verify", "churn.penstock", "--json", cwd=folder).stdout)["ok"] is True
    data = (folder / "churn.penstock").read_bytes()
    (folder / "bad.penstock").write_bytes(data.replace(b'"name":"churn"', b'"name":"chrun"'))
    bad = _run("verify", "bad.penstock", cwd=folder)
    assert bad.returncode == 1
    assert "damaged-bundle" in bad.stderr or "tampered-bundle" in bad.stderr


def test_diff(packed, folder):
    same = _run("diff", "churn.penstock", "churn.penstock", cwd=folder)
    assert (same.returncode, same.stdout.startswith("the same bundle")) == (0, True)
    arguments = ["my model.joblib", "--name", "other", "--sample", "people.csv", "--target", "left"]
    _run("pack", *arguments, "--allow-pickle", "we trained it", cwd=folder)
    other = _run("diff", "churn.penstock", "other.penstock", "--json", cwd=folder)
    assert other.returncode == 1
    paths = {change["path"] for change in json.loads(other.stdout)["changes"]}
    assert {"name", "licence", "signature.inputs[income].datatype"} <= paths


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--dtype", "income"], "invalid-choice"),
        (["--metrics", "auc=high"], "invalid-choice"),
        (["--metrics", "gone.json"], "invalid-choice"),
        (["--sensitive", "gone"], "unknown-column"),
        (["--target", "gone"], "unknown-column"),
        (["--sample", "gone.csv"], "unknown-file"),
    ],
)
def test_what_is_told_wrongly(arguments, code, folder):
    line = ["my model.joblib", "--name", "x", "--sample", "people.csv", "--target", "left", "--allow-pickle", "ours"]
    done = _run("pack", *line, *arguments, cwd=folder)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert not (folder / "x.penstock").exists()


def test_serving_does_not_pay_for_packing():
    code = "import sys, penstock.cli.bundles; print({'pandas', 'sklearn', 'skops', 'onnx', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
