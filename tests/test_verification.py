"""The parts of `make verify` that decide and write; what measures is run by itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verification.checks import CHECKS
from verification.checks.size import weigh
from verification.finding import Check, Finding, Record, at_most, percentile, unmeasured
from verification.measuring import record_of
from verification.page import page, said
from verification.programs import all_passed, failures, tally
from verification.store import answers, code_identity, forget, kept, save

MACHINE = {"cpu": "a processor", "cores": 2, "memory_gib": 4.0, "kernel": "6", "python": "3.11.7"}
MET = Finding("speed", ">= 2 x", {"ratio": 2.5}, True, "make verify WHAT=a", "measured so")
MISSED = Finding("size | weight", "<= 1 MB", {"size_mb": 2}, False, "make verify WHAT=a")
ABSENT = unmeasured("rate", ">= 3 x", "a", "no wrk")
CHECK = Check("a", "What it shows", lambda plan: [], None, None)


def record(*findings, code="abc", short=False):
    return Record("a", code, "2026-01-02T03:04:05Z", 3.0, short, 0.5, MACHINE, list(findings))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values)


def test_of_nothing_there_is_no_percentile():
    assert math.isnan(percentile([], 0.5))


def test_a_miss_and_what_was_not_measured_stand_before_the_tables():
    text = page([CHECK], {"a": record(MET, MISSED, ABSENT)})
    summary, _, table = text.partition("## a: What it shows")
    assert "1 of 2 bars met; 1 not measured." in summary
    assert "**missed**: size | weight: size_mb 2 (bar: <= 1 MB)" in summary
    assert "not measured: rate: no wrk" in summary
    assert "| speed | >= 2 x | ratio 2.5 | met |" in table
    assert "| size \\| weight | <= 1 MB | size_mb 2 | **missed** |" in table
    assert "| rate | >= 3 x | no wrk | not measured |" in table
    assert "2026-01-02, commit `abc`, a processor, 2 cores, 4.0 GiB" in table
    assert "Measured so." in table


def test_what_measurements_contradict_is_told_and_not_judged():
    text = page([CHECK], {"a": record(Finding("p99", "<= 3 x", {"ratio": 2.0}, None, "make verify"))})
    assert "0 of 0 bars met" in text
    assert "- not judged: p99: ratio 2.0" in text
    assert "| p99 | <= 3 x | ratio 2.0 | not judged |" in text


@given(st.floats(0, 1e6), st.floats(0.1, 10), st.lists(st.floats(0.001, 1e6), min_size=1))
def test_a_ratio_is_judged_where_every_base_says_the_same(value, bar, bases):
    assert at_most(value, bar, bases) is (
        True if value <= bar * min(bases) else False if value > bar * max(bases) else None
    )


def test_a_check_that_never_ran_says_how_to_run_it():
    text = page([CHECK], {})
    assert "0 of 0 bars met; 1 not measured." in text
    assert "Not measured. `make verify WHAT='a --again'` measures it." in text


def test_a_short_run_is_told_from_a_full_one():
    assert "short run" in page([CHECK], {"a": record(MET, short=True)})
    assert "short run" not in page([CHECK], {"a": record(MET)})


def test_measurements_nest():
    assert said({"at": {"p99_ms": 1.5, "n": [1, 2]}, "ok": True}) == "at (p99_ms 1.5, n 1, 2); ok True"


def test_a_record_comes_back_as_it_was_kept(tmp_path):
    save(record(MET, ABSENT), tmp_path / "kept")
    assert kept("a", tmp_path / "kept") == record(MET, ABSENT)
    (tmp_path / "kept" / "a.json").write_text("{")
    assert kept("a", tmp_path / "kept") is None
    assert kept("b", tmp_path / "kept") is None


@pytest.mark.parametrize(
    ("found", "code", "short", "enough"),
    [
        (None, "abc", False, False),
        (record(MET, MISSED), "abc", False, True),
        (record(MET), "abd", False, False),
        (record(MET, code=""), "", False, False),
        (record(MET, ABSENT), "abc", False, False),
        (record(MET, short=True), "abc", False, False),
        (record(MET, short=True), "abc", True, True),
        (record(MET), "abc", True, True),
    ],
)
def test_only_a_whole_measurement_of_the_same_code_is_enough(found, code, short, enough):
    assert answers(found, code, short) is enough


def test_what_is_known_is_not_measured_again(tmp_path):
    measured = []

    def measure():
        measured.append(MET)
        return [MET]

    first = record_of("a", "abc", False, measure, tmp_path)
    assert record_of("a", "abc", False, measure, tmp_path) == first
    assert len(measured) == 1
    for name, code in (("b", "abc"), ("a", "abd")):
        record_of(name, code, False, measure, tmp_path)
    assert len(measured) == 3
    forget("a", tmp_path)
    forget("never measured", tmp_path)
    assert kept("a", tmp_path) is None
    assert kept("b", tmp_path).findings == [MET]


def test_without_git_code_has_no_identity(tmp_path):
    assert code_identity(tmp_path) == ""


@pytest.mark.parametrize(
    ("line", "counts", "good"),
    [
        (
            "200 passed, 1 skipped, 3 warnings in 12.34s (0:00:12)",
            {"passed": 200, "skipped": 1, "seconds": 12.34},
            True,
        ),
        ("== 1 failed, 3 passed in 2.00s ==", {"passed": 3, "failed": 1, "seconds": 2.0}, False),
        ("3 passed, 2 errors in 2.00s", {"passed": 3, "errors": 2, "seconds": 2.0}, False),
        ("no tests ran in 0.01s", {"seconds": 0.01}, False),
        ("4 skipped in 0.01s", {"skipped": 4, "seconds": 0.01}, False),
        ("ImportError: no such thing", {}, False),
    ],
)
def test_the_closing_line_of_pytest(line, counts, good):
    found = tally(f"...\n{line}\n")
    assert {key: value for key, value in found.items() if "warning" not in key} == counts
    assert all_passed(found) is good


def test_failed_tests_are_named():
    assert failures("x\nFAILED tests/a.py::b - no\nERROR tests/c.py\n") == "tests/a.py::b, tests/c.py"
    assert failures("a crash") == "a crash"


def test_byte_code_weighs_nothing_and_a_file_is_weighed_once(tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "one" / "__pycache__").mkdir(parents=True)
    (packages / "one" / "a.py").write_bytes(b"x" * 1000)
    (packages / "one" / "b.py").hardlink_to(packages / "one" / "a.py")
    (packages / "one" / "c.py").symlink_to(packages / "one" / "a.py")
    (packages / "one" / "__pycache__" / "a.pyc").write_bytes(b"x" * 5000)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_bytes(b"x" * 10)
    size, allocated, parts = weigh(tmp_path)
    assert size == 1010
    assert allocated >= 0
    assert parts == {"one": 1000, "bin/tool": 10}


def test_names_of_checks_are_their_own():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
