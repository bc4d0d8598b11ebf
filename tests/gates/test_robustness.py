"""Odd inputs: what is allowed is answered, what is not is refused, and a nudge changes little."""

import shutil

import msgspec
import numpy as np
import pytest

from penstock.bundle.bundle import seal
from penstock.core.verdicts import read_report, report_json
from penstock.gates import golden, robustness
from penstock.gates.plan import GatePlan, GoldenSettings, RobustnessSettings
from penstock.gates.run import run_gates
from penstock.runtime.environment import lock_wheels


def test_a_sound_model_passes(candidate, champion):
    found = robustness.check(candidate(champion), RobustnessSettings())
    assert found.verdict == "pass", found.summary
    assert {"jitter", "extremes", "unseen"} <= set(found.evidence["blocks"])
    assert found.evidence["nudged_rows"] >= 100
    assert found.evidence["not_refused"] == []


def test_a_model_without_rows_is_nudged_whole(candidate, pack):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    shape = [3, 2]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    graph_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(graph_model)
    bundle = pack(graph_model, None, "whole")
    found = robustness.check(candidate(bundle), RobustnessSettings())
    assert found.verdict == "pass", found.summary
    assert found.evidence["blocks"] == {}


BAD = {
    "raises": ("if (x > 1.2).any(): raise ValueError('too large')\n        return x.sum(axis=1)", "too large"),
    "infinite": ("return 1.0 / np.maximum(0.0, 1.5 - x.max(axis=1))", "not finite"),
    "crashes": ("if (x > 1.2).any(): os.kill(os.getpid(), 9)\n        return x.sum(axis=1)", "ended"),
    "jumpy": ("return np.floor(x[:, 0] * 1e4) % 2", "answered otherwise"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", BAD)
def test_what_goes_wrong_is_found(candidate, python_bundle, kind):
    body, said = BAD[kind]
    imports = "import os, numpy as np\n        np.seterr(all='ignore')\n        "
    subject = candidate(python_bundle(imports + body, f"robust_{kind}"))
    found = robustness.check(subject, RobustnessSettings())
    assert found.verdict == "fail"
    assert said in found.summary


def test_a_higher_rate_of_flips_may_be_allowed(candidate, python_bundle):
    subject = candidate(python_bundle("import numpy as np\n        " + BAD["jumpy"][0], "jumpy_allowed"))
    assert robustness.check(subject, RobustnessSettings(max_flips=1.0)).verdict == "pass"


def test_the_same_seed_finds_the_same(candidate, champion):
    one, two = (robustness.check(candidate(champion), RobustnessSettings(seed=7)) for _ in range(2))
    assert one.evidence == two.evidence


def test_golden_rows_are_replayed(candidate, champion):
    found = golden.check(candidate(champion), GoldenSettings())
    assert found.verdict == "pass"
    assert found.evidence["rows"] > 0
    assert found.evidence["largest_difference"] <= 1e-5


def test_a_model_that_answers_otherwise_now_fails(candidate, python_bundle, tmp_path):
    flag = tmp_path / "flag"
    body = f"import os\n        return x.sum(axis=1) + (5.0 if os.path.exists({str(flag)!r}) else 0.0)"
    bundle = python_bundle(body, "drifting")
    assert golden.check(candidate(bundle), GoldenSettings()).verdict == "pass"
    flag.touch()
    found = golden.check(candidate(bundle), GoldenSettings())
    assert (found.verdict, found.code) == ("fail", "golden-mismatch")


def test_a_model_that_does_not_load_fails_once_and_the_other_gates_say_so(candidate, python_bundle, tmp_path):
    flag = tmp_path / "flag"
    body = "return x.sum(axis=1)\n\nimport os\nif os.path.exists({!r}):\n    raise RuntimeError('no licence')"
    bundle = python_bundle(body.format(str(flag)), "unloadable")
    flag.touch()
    report = run_gates(candidate(bundle), GatePlan())
    found = {one.gate: one for one in report.findings}
    assert report.verdict == "fail"
    assert found["golden"].verdict == "fail"
    assert "no licence" in found["golden"].summary
    assert found["robustness"].verdict == found["budget"].verdict == "inconclusive"
    assert found["robustness"].code == found["golden"].code
    assert read_report(report_json(report)) == report


def test_a_missing_environment_is_not_the_candidate_s_fault(candidate, python_bundle, tmp_path):
    bundle = python_bundle("return x.sum(axis=1)", "elsewhere")
    folder = tmp_path / "changed"
    shutil.copytree(bundle.directory, folder)
    lock = folder / bundle.manifest.environment.requirements
    wheels = tmp_path / "no_such_package-1.0-py3-none-any.whl"
    wheels.write_bytes(b"")
    text, environment = lock_wheels("no-such-package==1.0", tmp_path, "")
    lock.write_text(text)
    changed = seal(folder, msgspec.structs.replace(bundle.manifest, environment=environment))
    found = golden.check(candidate(changed), GoldenSettings())
    assert (found.verdict, found.code) == ("inconclusive", "environment-missing")


def test_a_hanging_model_costs_its_gate_and_no_more(candidate, python_bundle, monkeypatch):
    from penstock.gates import candidate as module

    monkeypatch.setattr(module, "CALL_LIMIT_S", 1.0)
    body = "import time\n        while (x > 1.2).any(): time.sleep(0.1)\n        return x.sum(axis=1)"
    subject = candidate(python_bundle(body, "hanging"))
    found = robustness.check(subject, RobustnessSettings())
    assert found.verdict == "fail"
    assert "deadline" in str(found.evidence["blocks"]["extremes"]["code"])
    assert np.isfinite(found.evidence["flips"])
