"""Verdicts: how several come to one, and reports that survive being stored."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.verdicts import Finding, conclude, overall, read_report, report_json

VERDICTS = ("pass", "fail", "inconclusive")


def report(*verdicts):
    findings = [Finding(gate=f"gate-{at}", verdict=verdict, summary="s") for at, verdict in enumerate(verdicts)]
    return conclude("sha256:00", findings, started="1970-01-01T00:00:00.000Z", seconds=1.5, endpoint="churn")


@pytest.mark.parametrize("verdicts", [v for n in range(4) for v in itertools.product(VERDICTS, repeat=n)])
def test_one_fail_fails_and_only_passes_pass(verdicts):
    expected = "fail" if "fail" in verdicts else "pass" if verdicts and set(verdicts) == {"pass"} else "inconclusive"
    assert overall(verdicts) == expected


@given(
    st.lists(
        st.builds(
            Finding,
            gate=st.text(max_size=5),
            verdict=st.sampled_from(VERDICTS),
            summary=st.text(max_size=20),
            evidence=st.dictionaries(st.text(max_size=5), st.none() | st.integers(0, 9) | st.lists(st.floats(0, 1))),
            code=st.text(max_size=5),
        ),
        max_size=4,
    )
)
def test_a_report_reads_back_as_it_was(findings):
    made = conclude("sha256:00", findings, started="now", seconds=0.25)
    assert read_report(report_json(made)) == made


def test_a_verdict_that_does_not_follow_is_damage():
    stored = json.loads(report_json(report("pass", "fail")))
    stored["verdict"] = "pass"
    with pytest.raises(InvalidInput) as caught:
        read_report(json.dumps(stored).encode())
    assert caught.value.code == "damaged-report"


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b'{"format": 1}', b"[" * 100_000, b'{"format":1,"bundle":1}'])
def test_what_is_no_report_is_damage(data):
    with pytest.raises(InvalidInput) as caught:
        read_report(data)
    assert caught.value.code == "damaged-report"


def test_a_newer_report_is_not_called_damaged():
    stored = json.loads(report_json(report("pass"))) | {"format": 2, "novelty": True}
    with pytest.raises(InvalidInput) as caught:
        read_report(json.dumps(stored).encode())
    assert caught.value.code == "newer-format"
