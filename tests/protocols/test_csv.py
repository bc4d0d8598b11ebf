"""CSV as RFC 4180 has it, and what of it is a header."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.protocols.csv_rows import CsvReader, csv_of
from penstock.protocols.csv_text import read_csv, write_csv
from penstock.protocols.json_rows import RowReader

TABLE = CsvReader(
    RowReader(
        Signature(
            inputs=(
                Field(name="income", datatype="FP64", shape=(-1,), nullable=True),
                Field(name="age", datatype="INT8", shape=(-1,)),
                Field(name="city", datatype="BYTES", shape=(-1,)),
                Field(name="member", datatype="BOOL", shape=(-1,)),
            ),
            outputs=(),
            layout="table",
        )
    )
)
MATRIX, TRUTHS, WORDS = (
    CsvReader(
        RowReader(Signature(inputs=(Field(name="x", datatype=kind, shape=(-1, 2)),), outputs=(), layout="matrix"))
    )
    for kind in ("FP32", "BOOL", "BYTES")
)
TENSOR = CsvReader(
    RowReader(Signature(inputs=(Field(name="x", datatype="FP32", shape=(-1, 2, 2)),), outputs=(), layout="tensors"))
)
FIELDS = st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=4))


def code_of(reader, text, header=""):
    with pytest.raises(InvalidInput) as refusal, np.errstate(over="ignore"):
        reader.read(text, header)
    return refusal.value.code


def test_names_order_and_columns_that_the_model_does_not_know():
    bound, rows = TABLE.read('id,city,member,age,income\r\n1,"a,""b""",true,3,\r\n2,,0,-4,1e3\r\n')
    assert rows == 2
    assert bound["city"].tolist() == ['a,"b"', ""]
    assert bound["member"].tolist() == [True, False]
    assert bound["age"].tolist() == [3, -4]
    assert np.array_equal(bound["income"], [np.nan, 1000.0], equal_nan=True)


def test_a_line_that_names_nothing_is_a_row():
    bound, rows = TABLE.read("1.5,3,Oslo,true\n")
    assert (rows, bound["city"].tolist()) == (1, ["Oslo"])
    assert MATRIX.read("0.5,2\n1,1")[0]["x"].tolist() == [[0.5, 2], [1, 1]]


def test_a_matrix_takes_columns_by_place_and_a_header_by_its_words():
    assert MATRIX.read("height,width\n1,2\n")[0]["x"].tolist() == [[1, 2]]
    # A table without names of its own is written with numbers for names: only the caller knows.
    assert code_of(MATRIX, "0,1\n5,6\n") == "ambiguous-header"
    assert MATRIX.read("0,1\n5,6\n", "present")[0]["x"].tolist() == [[5, 6]]
    assert MATRIX.read("0,1\n5,6\n", "absent")[0]["x"].tolist() == [[0, 1], [5, 6]]
    assert MATRIX.read("0,1\n")[1] == 1


def test_a_wrong_value_in_the_first_row_never_makes_the_row_a_header():
    for first in ("1,x", "x,1", "0.5,1_0", "nan,x"):
        assert code_of(MATRIX, f"{first}\n5,6\n") == "ambiguous-header"
        assert code_of(MATRIX, f"{first}\n5,6\n", "absent") == "invalid-value"
        assert MATRIX.read(f"{first}\n5,6\n", "present")[0]["x"].tolist() == [[5, 6]]
    # An index that pandas writes has no name; a missing value is a row's.
    assert MATRIX.read(",width\n1,2\n")[0]["x"].tolist() == [[1, 2]]
    assert code_of(MATRIX, "1,\n5,6\n") == "missing-value"
    assert TRUTHS.read("true,False\n0,1\n")[0]["x"].tolist() == [[True, False], [False, True]]
    assert code_of(TRUTHS, "true,no\n0,1\n") == "ambiguous-header"
    # Text could be anything: only the caller knows. Of inputs with names, the names decide.
    assert WORDS.read("a,1\n2,b\n")[0]["x"].tolist() == [["a", "1"], ["2", "b"]]
    assert TABLE.read("city,member,age,income\n7,1,3,2\n")[0]["city"].tolist() == ["7"]
    assert TABLE.read("1,2,x,1\n3,4,5,0\n")[0]["city"].tolist() == ["x", "5"]
    assert code_of(TABLE, "x,2,a,1\n3,4,5,0\n") == "invalid-value"


@pytest.mark.parametrize(
    ("reader", "text", "code"),
    [
        (TABLE, 'income,age,city,member\n1,2,"a"b,1\n', "invalid-csv"),
        (TABLE, 'income,age,city,member\n1,2,a"b,1\n', "invalid-csv"),
        (TABLE, 'income,age,city,member\n1,2,"a,1\n', "invalid-csv"),
        (TABLE, "income,age,city,member\n1,2,a\r,1\n", "invalid-csv"),
        (TABLE, "income,age,city,member\n1,2,a\n", "invalid-csv"),
        (TABLE, "income,age,city,member\n\n1,2,a,1\n", "invalid-csv"),
        (TABLE, "income,age,member\n1,2,1\n", "ambiguous-header"),
        (TABLE, "income,age,city,member\n", "empty-batch"),
        (TABLE, "", "empty-batch"),
        (TABLE, "1,2,3\n", "wrong-inputs"),
        (TABLE, "1,2.5,a,1\n", "invalid-value"),
        (TABLE, "1,300,a,1\n", "invalid-rows"),
        (TABLE, "1,,a,1\n", "invalid-rows"),
        (TABLE, "1_0,1,a,1\n", "invalid-value"),
        (TABLE, "1,1,a,maybe\n", "invalid-value"),
        (TABLE, "income,age,city,member,age\n1,1,a,1,1\n", "duplicate-input"),
        (MATRIX, "a,b\n1,x\n", "invalid-value"),
        (MATRIX, "1,2,3\n", "wrong-shape"),
        (MATRIX, "1,inf\n", "invalid-value"),
        (MATRIX, "1,1e300\n", "invalid-value"),
        (TENSOR, "1,2,3,4\n", "no-csv"),
    ],
)
def test_what_is_refused(reader, text, code):
    assert code_of(reader, text) == code


def test_outputs_leave_side_by_side():
    outputs = {
        "label": np.array(["a,b", None], object), "score": np.array([[0.5, np.nan], [1, 2]]),
        "sure": np.array([True, False]),
    }  # fmt: skip
    assert csv_of(outputs, 2) == '"a,b",0.5,,true\n,1.0,2.0,false\n'
    with pytest.raises(InvalidInput):
        csv_of({"total": np.array(3.0)}, 2)


@given(FIELDS)
def test_what_is_written_is_read_again(records):
    # One empty field is an empty line, which at the end is none.
    records = [record if record != [""] else ["x"] for record in records]
    assert read_csv(write_csv(records)) == [
        [field.removeprefix("\ufeff") if at == number == 0 else field for at, field in enumerate(record)]
        for number, record in enumerate(records)
    ]


@given(FIELDS.map(lambda records: [record if record != [""] else ["x"] for record in records]))
def test_it_reads_what_python_writes(records):
    out = io.StringIO()
    csv.writer(out).writerows(records)
    text = out.getvalue()
    if not text.startswith("\ufeff"):
        assert read_csv(text) == records


@given(st.text(st.sampled_from('ab1,"\r\n.-\ufeff')), st.sampled_from(["", "present", "absent"]))
def test_no_text_fails_in_another_way(text, header):
    for reader in (TABLE, MATRIX, TRUTHS, WORDS, TENSOR):
        try:
            bound, rows = reader.read(text, header)
        except InvalidInput:
            continue
        assert all(len(array) == rows > 0 for array in bound.values())
