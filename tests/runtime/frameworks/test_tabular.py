"""The DataFrame a table's estimator gets has the columns, dtypes and missing values it was trained with."""

import numpy as np
import pandas as pd
import pytest

from penstock.core.errors import ModelFailed
from penstock.core.signature import Field, Signature
from penstock.core.tensors import dtype_of
from penstock.runtime.frameworks.tabular import Outputs, reader


def column(datatype, values, options=None, **field):
    """The column of a table that holds `values`."""
    fields = (Field(name="c", datatype=datatype, shape=(-1,), **field),)
    signature = Signature(inputs=fields, outputs=(), layout="table")
    array = np.empty(len(values), dtype_of(datatype))
    array[:] = values
    frame = reader(signature, {"columns": {"c": options}} if options else {})({"c": array})
    assert list(frame.columns) == ["c"] and list(frame.index) == list(range(len(values)))
    assert array.tolist() == list(values) or datatype.startswith("FP")
    return frame["c"]


@pytest.mark.parametrize(
    ("datatype", "values", "like"),
    [
        ("FP32", [1.5, np.nan], pd.Series([1.5, np.nan], dtype="float32")),
        ("INT8", [1, -2], pd.Series([1, -2], dtype="int8")),
        ("BOOL", [True, False], pd.Series([True, False])),
        ("BYTES", ["a", None, "b"], pd.Series(["a", np.nan, "b"])),
        ("BYTES", ["", "é"], pd.Series(["", "é"])),
    ],
)
def test_values_become_what_pandas_itself_makes_of_them(datatype, values, like):
    pd.testing.assert_series_equal(column(datatype, values), like, check_names=False)


def test_a_category_has_its_codes_whatever_is_in_the_call():
    options = {"dtype": "category", "categories": ["low", "high"], "ordered": True}
    got = column("BYTES", ["high", "new", None, "low"], options)
    assert got.cat.codes.tolist() == [1, -1, -1, 0] and got.cat.ordered
    assert column("INT64", [7, 3], {"dtype": "category"}, categories=(3, 7)).cat.codes.tolist() == [1, 0]


def test_a_column_may_have_any_dtype_of_pandas():
    assert column("BYTES", ["a", None], {"dtype": "object"}).tolist() == ["a", None]
    assert str(column("INT64", [1, 2], {"dtype": "Int64"}).dtype) == "Int64"


def test_columns_come_in_the_signatures_order():
    fields = tuple(Field(name=name, datatype="FP32", shape=(-1,)) for name in "bac")
    read = reader(Signature(inputs=fields, outputs=(), layout="table"), {})
    assert list(read({name: np.zeros(2, np.float32) for name in "cba"}).columns) == ["b", "a", "c"]


OUTPUT = Signature(inputs=(), outputs=(Field(name="p", datatype="FP32", shape=(-1, 2)),), layout="tensors")


@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 3), (2, 2, 1, 1), ()])
def test_a_result_of_another_shape_is_refused(shape):
    with pytest.raises(ModelFailed, match="wrong-output"):
        Outputs(OUTPUT).pack({"p": np.zeros(shape)}, 2)


def test_a_missing_result_is_named():
    with pytest.raises(ModelFailed, match=r"gave no p.*wrong-output"):
        Outputs(OUTPUT).pack({"q": np.zeros((2, 2))}, 2)


def test_a_column_too_many_is_dropped_and_scores_are_rounded():
    got = Outputs(OUTPUT).pack({"p": np.full((2, 2, 1), 0.1)}, 2)["p"]
    assert got.shape == (2, 2) and got.dtype == np.float32
