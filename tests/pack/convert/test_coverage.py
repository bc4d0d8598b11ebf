"""Every estimator of the coverage table converts as the table says."""

import pytest
from tests.pack.convert.cases import Case, all_cases
from tests.pack.convert.coverage import PAGE, outcome


def _recorded() -> dict[str, str]:
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[1] for row in rows[1:]}


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_case_converts_as_recorded(case: Case):
    assert outcome(case).verdict == _recorded()[case.name]


def test_the_table_has_no_other_rows():
    assert _recorded().keys() == {case.name for case in all_cases()}
