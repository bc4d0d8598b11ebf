"""The check of the million, with few records: what it counts is right, and it sees what is lost or there twice."""

import duckdb
import pytest
from verification.checks.join import findings
from verification.joining import join, make

RECORDS = 3000


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("join")
    make(folder, RECORDS)
    return folder, join(folder, RECORDS)


def test_nothing_is_lost_and_nothing_there_twice(measured):
    _, found = measured
    counts = {name: found[name] for name in ("rows", "requests", "labelled", "as_before", "exported")}
    assert set(counts.values()) == {RECORDS}
    assert (found["corrected"], found["outcomes"]) == (RECORDS // 10, RECORDS + RECORDS // 10)
    assert findings(RECORDS, found)[2].met is True


@pytest.mark.parametrize("name", ["rows", "requests", "labelled", "corrected", "as_before", "outcomes", "exported"])
def test_one_record_more_or_less_is_seen(measured, name):
    _, found = measured
    for difference in (-1, 1):
        assert findings(RECORDS, found | {name: found[name] + difference})[2].met is False


def test_any_parquet_tool_reads_the_table(measured):
    folder, _ = measured
    parts = duckdb.connect().read_parquet(f"{folder}/table/predictions/*/*/*.parquet", hive_partitioning=True)
    assert parts.aggregate("endpoint, count(*) AS n, count(DISTINCT request_id) AS ids").fetchall() == [
        ("churn", RECORDS, RECORDS)
    ]
