"""The plan and the run of it: what may be asked, in which order, and what is found where a gate cannot run."""

from pathlib import Path

import pytest
from tests.gates.test_quality import NOT_WORSE

from penstock.core.errors import PenstockError
from penstock.core.verdicts import read_report, report_json
from penstock.gates.plan import GatePlan, SchemaSettings, read_plan, read_plan_file
from penstock.gates.run import run_gate, run_gates
from penstock.storage.yaml_text import read_yaml


def test_the_default_plan_needs_no_data_and_passes_a_sound_model(candidate, equal, champion):
    heard = []
    subject = candidate(equal, champion=champion, endpoint="churn")
    plan = read_plan({"budget": {"single_ms": 1e9, "batch_ms": 1e9}}, "test")
    report = run_gates(subject, plan, progress=heard.append, today=lambda: 0.0)
    assert report.verdict == "pass", report.findings
    assert heard == [one.gate for one in report.findings] == ["schema", "golden", "robustness", "budget"]
    assert (report.bundle, report.champion, report.endpoint) == (equal.digest, champion.digest, "churn")
    assert report.started == "1970-01-01T00:00:00.000Z"
    assert read_report(report_json(report)) == report


def test_a_whole_plan_from_yaml_stops_the_bad_one_with_the_reason(candidate, unscaled, champion, held_out, folder):
    path = folder / "gates.yaml"
    path.write_text(
        f"quality:\n  data: {held_out(500).rpartition('/')[2]}\n  target: left\n  resamples: 100\n"
        "  metrics:\n    accuracy: {not_worse_than: 0.02}\nbudget: false\nrobustness: {max_flips: 0.5}\n"
    )
    plan = read_plan_file(path)
    assert list(plan.gates()) == ["schema", "golden", "robustness", "quality"]
    report = run_gates(candidate(unscaled, champion=champion), plan)
    assert report.verdict == "fail"
    failed = [one for one in report.findings if one.verdict == "fail"]
    assert [one.gate for one in failed] == ["quality"]
    assert "accuracy" in failed[0].summary


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"qualty": {}}, "did you mean 'quality'?"),
        ({"budget": {"singel_ms": 1}}, "did you mean 'single_ms'?"),
        ({"budget": None}, "$.budget"),
        ({"budget": {"single_ms": -1}}, "$.budget.single_ms"),
        ({"robustness": {"max_flips": 2}}, "max_flips"),
        ({"quality": {"data": "a", "target": "b", "metrics": {}}}, "metrics"),
        ({"quality": {"data": "a", "target": "b", "metrics": {"f1": {}}}}, "has no bound"),
        ({"quality": {"data": "a", "target": "b", "metrics": {"f1": {"not_worse_than": -1}}}}, "not_worse_than"),
        ({"quality": {"target": "b", "metrics": {"f1": {"min": 1}}}}, "data"),
        ({"custom": {"files": []}}, "files"),
        ([], "array"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(value, said):
    with pytest.raises(PenstockError) as caught:
        read_plan(value, "penstock.yaml")
    assert caught.value.code == "invalid-gates"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x 1", "invalid-yaml"),
        ("budget: {runs: many}", "invalid-gates"),
        ("budget: false\nbudget: true", "invalid-yaml"),
    ],
)
def test_a_plan_file_is_read_with_care(tmp_path, text, code):
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(PenstockError) as caught:
        read_plan_file(path)
    assert caught.value.code == code


def test_a_plan_file_that_is_empty_or_not_there(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_plan_file(tmp_path / "empty.yaml") == GatePlan()
    with pytest.raises(PenstockError) as caught:
        read_plan_file(tmp_path / "nowhere.yaml")
    assert caught.value.code == "unknown-file"
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(PenstockError) as caught:
        read_plan_file(tmp_path / "bytes.yaml")
    assert caught.value.code == "invalid-yaml"


def test_a_gate_that_breaks_is_inconclusive_and_ends_no_other(candidate, champion):
    found = run_gate("budget", candidate(champion), None, 60)
    assert (found.verdict, found.code) == ("inconclusive", "internal-error")
    assert run_gate("no_such_gate", candidate(champion), SchemaSettings(), 60).verdict == "inconclusive"


def test_an_empty_plan_is_no_pass(candidate, champion):
    plan = GatePlan(schema=False, golden=False, robustness=False, budget=False)
    assert run_gates(candidate(champion), plan).verdict == "inconclusive"


def test_an_unknown_metric_leaves_the_other_gates_alone(candidate, champion, held_out):
    quality = {"data": held_out(60), "target": "left", "metrics": {"acuracy": {"min": 0.5}} | NOT_WORSE}
    report = run_gates(candidate(champion), read_plan({"quality": quality, "budget": False}, "test"))
    assert {one.gate: one.verdict for one in report.findings} == {
        "schema": "pass", "golden": "pass", "robustness": "pass", "quality": "inconclusive",
    }  # fmt: skip
    assert report.verdict == "inconclusive"


def test_the_guide_s_plan_is_a_plan():
    guide = (Path(__file__).parents[2] / "docs/guide/gates.md").read_text()
    text = guide.partition("```yaml\n")[2].partition("```")[0]
    plan = read_plan(read_yaml(text, "gates.md"), "gates.md")
    assert list(plan.gates()) == ["schema", "golden", "robustness", "replay", "quality", "budget", "custom"]
