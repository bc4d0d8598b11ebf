"""`penstock check` as continuous integration runs it: what it prints, and with what status it ends."""

import json

import numpy as np
import pandas as pd
import pytest

from penstock.cli.check import read_bounds
from penstock.core.errors import InvalidInput
from penstock.core.verdicts import read_report


@pytest.fixture
def data(bundles, tmp_path):
    """Rows with their sums, which `sum.penstock` knows and `half.penstock` halves."""

    def written(rows):
        values = np.random.default_rng(1).random((rows, 2))
        path = tmp_path / f"rows-{rows}.csv"
        pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "total": values.sum(axis=1)}).to_csv(path, index=False)
        return path

    return written


def quality(path, *bounds):
    return ["--data", path, "--target", "total", *(text for bound in bounds for text in ("--metric", bound))]


def test_a_sound_bundle_passes_with_a_table(run, bundles):
    done = run("check", bundles / "sum.penstock", "--against", bundles / "half.penstock")
    assert all(gate in done.stdout for gate in ("schema", "golden", "robustness", "budget"))
    assert "pass" in done.stdout.splitlines()[0]
    assert "golden …" in done.stderr


def test_a_worse_one_ends_with_1_and_says_why(run, bundles, data):
    bounds = quality(data(300), "mean_absolute_error<=champion+0.01", "r2>=0.9")
    done = run("check", bundles / "half.penstock", "--against", bundles / "sum.penstock", *bounds, "--json", code=1)
    report = read_report(done.stdout.encode())
    assert report.verdict == "fail"
    assert [one.gate for one in report.findings if one.verdict == "fail"] == ["quality"]
    run("check", bundles / "sum.penstock", "--against", bundles / "half.penstock", *bounds)


def test_too_little_data_ends_with_3(run, bundles, data):
    done = run("check", bundles / "sum.penstock", *quality(data(10), "r2>=0.9"), code=3)
    assert "inconclusive" in done.stdout
    assert "fewer than 50 rows" in done.stdout


def test_versions_of_the_registry_are_checked_by_their_names(run, bundles):
    run("register", bundles / "sum.penstock", "--name", "total", "--alias", "champion")
    run("register", bundles / "half.penstock", "--name", "total")
    done = run("check", "total", "--against", "total@champion", "--json")
    report = json.loads(done.stdout)
    assert report["bundle"] != report["champion"]
    # And the report is stored with the version, for people and for whoever applies it
    shown = json.loads(run("show", "total/2", "--json").stdout)["gates"]
    assert shown == [report]
    assert "gates         " in run("show", "total/2").stdout
    assert json.loads(run("show", "total/1", "--json").stdout)["gates"] == []
    assert run("audit", "verify").stdout
    assert "unknown-model" in run("check", "nobody", code=1).stderr


def test_own_checks_and_a_plan_in_a_file(run, bundles, tmp_path):
    (tmp_path / "mine.py").write_text("def check_mine(candidate): return False")
    (tmp_path / "plan.yaml").write_text("budget: false\nrobustness: false\n")
    done = run("check", bundles / "sum.penstock", "--gates", "plan.yaml", "--checks", "mine.py", code=1)
    assert "check_mine fail" in done.stdout
    assert "budget" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.penstock"], "unknown-bundle"),
        (["SUM", "--data", "x.csv"], "--target and --metric"),
        (["SUM", "--metric", "accuracy"], "invalid-choice"),
        (["SUM", "--gates", "nowhere.yaml"], "unknown-file"),
        (["SUM", "--against", "nowhere.penstock"], "unknown-bundle"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, bundles, arguments, said):
    arguments = [bundles / "sum.penstock" if one == "SUM" else one for one in arguments]
    assert said in run("check", *arguments, code=1).stderr


@pytest.mark.parametrize(
    "text",
    ["", "accuracy", "accuracy>0.9", "accuracy=0.9", "accuracy>=high", "accuracy>=champion+0.1", "a<=champion-1"],
)
def test_bounds_that_are_none(text):
    with pytest.raises(InvalidInput) as caught:
        read_bounds([text])
    assert caught.value.code == "invalid-choice"


def test_bounds_may_have_spaces_and_come_together():
    bounds = read_bounds(["r2 >= champion", "r2>=-0.5", "mean_squared_error <= 4e-1"])
    assert bounds == {"r2": {"not_worse_than": 0.0, "min": -0.5}, "mean_squared_error": {"max": 0.4}}
