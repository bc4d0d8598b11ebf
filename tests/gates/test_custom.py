"""The user's own checks: what they say is what is found, and what they break is theirs."""

import textwrap
import time
from pathlib import Path

import pytest

from penstock.gates import custom
from penstock.gates.plan import CustomSettings
from penstock.gates.run import run_gate


@pytest.fixture
def check(candidate, champion, tmp_path):
    """Writes checks into a file and runs them."""

    def run(source, name="checks.py", timeout_s=120.0, **choices):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        subject = candidate(champion, **choices)
        return custom.check(subject, CustomSettings(files=(str(path),), timeout_s=timeout_s))

    return run


def checks(found):
    return {one["name"]: one["verdict"] for one in found.evidence["checks"]}


def test_what_a_check_returns_is_its_verdict(check, champion):
    found = check(
        """
        import numpy as np
        from penstock.core.verdicts import Finding

        def check_none(candidate): pass
        def check_true(candidate): return np.float64(1) == 1
        def check_false(candidate): return False
        def check_odd(candidate): return "fine"
        def check_raises(candidate): assert candidate.name == "other", candidate.name
        def check_unsure(candidate):
            return Finding(gate="mine", verdict="inconclusive", summary="hm", evidence={"rows": 3})
        def check_answers(candidate):
            labels = candidate.predict(candidate.golden)
            assert set(labels) <= set(candidate.signature.classes)
            assert (candidate.champion.predict(candidate.golden) == labels).all()
        def not_a_check(candidate): raise SystemError
        """,
        champion=champion,
    )
    assert checks(found) == {
        "check_none": "pass", "check_true": "pass", "check_false": "fail", "check_odd": "fail",
        "check_raises": "fail", "check_unsure": "inconclusive", "check_answers": "pass",
    }  # fmt: skip
    assert found.verdict == "fail"
    assert "AssertionError: champion" in str(found.evidence)


def test_all_that_pass_pass(check):
    found = check("def check_one(candidate): return True")
    assert (found.verdict, found.summary) == ("pass", "1 checks passed")


def test_a_file_without_checks_is_inconclusive(check):
    assert check("x = 1").verdict == "inconclusive"
    assert check("x = 1", "test_nothing.py").verdict == "inconclusive"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def check_a(candidate: raise", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("import sys\ndef check_a(c): pass\ndef check_b(c): sys.exit(0)", "before its last check"),
        ("import os\ndef check_a(c): os._exit(0)", "before its last check"),
        ("import os\ndef check_a(c): os.kill(os.getpid(), 9)", "exit code -9"),
        ("def check_a(c): c.answer({'age': [1]})", "wrong-inputs"),
    ],
)
def test_a_crash_is_a_failed_check_with_its_words(check, source, said):
    found = check(source)
    assert found.verdict == "fail"
    assert said in str(found.evidence["checks"])


def test_a_hang_ends_at_the_limit_with_all_that_it_started(check, tmp_path):
    found = check(
        f"""
        import os, subprocess, time
        child = subprocess.Popen(["sleep", "1000"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        def check_a(candidate):
            while True: time.sleep(1)
        """,
        timeout_s=3.0,
    )
    assert found.verdict == "fail"
    assert "longer than 3 s" in found.summary
    pid = int((tmp_path / "pid").read_text())
    while _runs(pid):
        time.sleep(0.01)


def _runs(pid):
    """Whether it is there and no mere entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_megabytes_on_the_output_are_not_kept(check):
    found = check("def check_a(c):\n    print('x' * (8 << 20))\n    print('the end')\n    return False")
    assert found.verdict == "fail"
    assert len(str(found.evidence)) < 10_000
    assert "the end" in str(found.evidence["output"])


def test_hardly_anything_of_our_environment_is_theirs(check, monkeypatch):
    monkeypatch.setenv("PENSTOCK_DATABASE", "postgresql://user:secret@host/db")
    found = check("import os\ndef check_a(c): assert 'PENSTOCK_DATABASE' not in os.environ")
    assert found.verdict == "pass", found.evidence


def test_pytest_files_run_with_the_model_as_a_fixture(check):
    found = check(
        """
        import pytest

        def test_good(candidate, predict):
            assert len(predict(candidate.golden)) == len(candidate.golden["age"])

        @pytest.mark.parametrize("least", [0, 1000])
        def test_rows(candidate, least):
            assert len(candidate.golden["age"]) >= least

        def test_skipped():
            pytest.skip("not today")

        @pytest.fixture
        def broken():
            raise RuntimeError("no such table")

        def test_setup(broken): pass
        """,
        "test_model.py",
    )
    assert checks(found) == {
        "test_good": "pass", "test_rows[0]": "pass", "test_rows[1000]": "fail", "test_skipped": "inconclusive",
        "test_setup": "fail",
    }  # fmt: skip
    assert "no such table" in str(found.evidence)


def test_a_pytest_file_that_cannot_be_read_fails(check):
    assert check("import no_such_module", "test_broken.py").verdict == "fail"


def test_a_file_that_is_not_there_is_inconclusive(candidate, champion, tmp_path):
    settings = CustomSettings(files=(str(tmp_path / "nowhere.py"),))
    found = run_gate("custom", candidate(champion), settings, 60)
    assert (found.verdict, found.code) == ("inconclusive", "unknown-file")


def test_the_gate_s_own_limit_is_inconclusive(candidate, champion, tmp_path):
    path = tmp_path / "slow.py"
    path.write_text("import time\ndef check_a(c): time.sleep(1000)")
    found = run_gate("custom", candidate(champion), CustomSettings(files=(str(path),)), 2.0)
    assert (found.verdict, found.code) == ("inconclusive", "gate-timeout")
