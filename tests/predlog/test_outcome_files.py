"""Outcomes as they come in: files of each kind, single ones, and everything that is wrong with them."""

from datetime import datetime

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.predlog.logged import ask, block, places_in, write_segment

from penstock.core.errors import InvalidInput, PenstockError
from penstock.predlog.outcome_files import read_outcomes
from penstock.predlog.outcomes import Outcome, outcome_from, read_value


@pytest.fixture
def places(tmp_path):
    """A log of r0, r1 and r2."""
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(3)])
    return places


def tell(places, request_id, value, **fields):
    return places.outcomes.append([Outcome(request_id=request_id, value=value, **fields)])


def written(tmp_path, kind):
    """The same five outcomes as a file of each kind."""
    rows = """
        SELECT * FROM (VALUES ('r0', 1.0, 0, 'label', TIMESTAMP '2031-01-02 03:04:05'),
        ('r1', 2.5, 1, 'label', NULL)) AS t(request_id, value, "row", name, observed_at)
    """
    path = tmp_path / f"outcomes.{kind}"
    form = {"csv": "FORMAT csv, HEADER", "parquet": "FORMAT parquet", "jsonl": "FORMAT json"}[kind]
    duckdb.connect().execute(f"COPY ({rows}) TO '{path}' ({form})")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_files_of_each_kind_say_the_same(tmp_path, kind):
    when = datetime(2031, 1, 2, 3, 4, 5)
    assert list(read_outcomes(written(tmp_path, kind))) == [
        Outcome(request_id="r0", value=1.0, observed_at=when),
        Outcome(request_id="r1", value=2.5, row=1),
    ]


def test_times_with_a_zone_are_kept_in_utc(places, tmp_path):
    path = tmp_path / "zoned.parquet"
    rows = "SELECT 'r0' AS request_id, true AS value, TIMESTAMPTZ '2031-01-01 12:00:00+02' AS observed_at"
    duckdb.connect().execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    places.outcomes.add_file(path, places.table)
    tell(places, "r1", 1, observed_at=datetime.fromisoformat("2031-01-01T12:00:00+02:00"))
    expected = datetime(2031, 1, 1, 10)
    assert ask(places, "SELECT observed_at FROM outcomes") == [(expected,), (expected,)]


def test_a_spreadsheet_s_file_is_read(tmp_path):
    path = tmp_path / "sheet.CSV"
    path.write_bytes('\ufeffrequest_id,value\r\nr0,"a, ""b"""\r\n\r\nr1,007\r\n'.encode())
    assert [outcome.value for outcome in read_outcomes(path)] == ['a, "b"', "007"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "", "no column 'request_id'"),
        ("a.csv", "request_id\nr0\n", "no column 'value'"),
        ("a.csv", "request_id,value,valeu\nr0,1,1\n", "unknown column 'valeu'"),
        ("a.csv", "request_id,value,value\nr0,1,1\n", "a column twice"),
        (
            "a.csv",
            "request_id,value\nr0,1\nr1\nr2,2\nr3,\n",
            "row 2: 1 cells under 2 columns; row 4: the value is",
        ),
        ("a.csv", "request_id,value\n,1\n", "row 1: request_id '' is empty"),
        ("a.csv", "request_id,value,row\nr0,1,-1\n", "row 1: row -1 is not between"),
        ("a.csv", "request_id,value,row\nr0,1,x\n", "row 1: "),
        ("a.csv", "request_id,value,observed_at\nr0,1,yesterday\n", "row 1: "),
        ("a.csv", "request_id,value,name\nr0,1,../x\n", "row 1: outcome '../x' is not a valid name"),
        ("a.csv", 'request_id,value\nr0,"1\n', "it cannot be read: "),
        ("a.csv", "request_id,value\n" + "x,\n" * 9, "row 5: the value is empty, and maybe more"),
        ("a.csv", b"request_id,value\nr0,\xff\n", "it cannot be read: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1}\n{"request_id"\n', "row 2: "),
        ("a.jsonl", '{"request_id": "r0", "value": null}\n', "row 1: "),
        ("a.jsonl", '{"request_id": 7, "value": 1}\n', "row 1: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1, "valeu": 1}\n', "row 1: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1e999}\n', "row 1: "),
        ("a.jsonl", "[" * 100_000 + "\n", "row 1: "),
        ("a.jsonl", "{}\n" * 3, "row 3: "),
    ],
)
def test_a_wrong_file_is_refused_whole_with_its_rows(places, tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidInput) as caught:
        places.outcomes.add_file(path, places.table)
    assert caught.value.code == "invalid-outcomes"
    assert told in caught.value.message
    assert ask(places, "SELECT count(*) FROM outcomes") == [(0,)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.csv", None, "unknown-file"),
        ("a.xlsx", b"", "unsupported-outcomes"),
        ("a.parquet", b"PAR1 not really PAR1", "invalid-outcomes"),
        ("a.parquet", b"", "invalid-outcomes"),
    ],
)
def test_what_is_no_file_of_outcomes_is_said(places, tmp_path, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PenstockError) as caught:
        places.outcomes.add_file(path, places.table)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "", "value": 1},
        {"request_id": "a\nb", "value": 1},
        {"request_id": "x" * 257, "value": 1},
        {"request_id": "r0", "value": float("inf")},
        {"request_id": "r0", "value": 2**63},
        {"request_id": "r0", "value": "x" * 4097},
        {"request_id": "r0", "value": [1]},
        {"request_id": "r0", "value": 1, "row": 2**31},
        {"request_id": "r0", "value": 1, "name": ""},
        {"request_id": "r0"},
    ],
)
def test_a_wrong_outcome_is_refused(places, fields):
    with pytest.raises(InvalidInput) as caught:
        outcome_from(fields)
    assert caught.value.code == "invalid-outcome"


@given(st.one_of(st.integers(-(2**63) + 1, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_a_value_is_read_as_it_is_written(value):
    text = str(value).lower()
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)
