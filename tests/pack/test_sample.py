"""Reading DATA: what each kind of file and column becomes, and every kind that is refused."""

import numpy as np
import pandas as pd
import pytest

from penstock.core.errors import InvalidInput, NotFound, PenstockError
from penstock.pack.sample import read_sample


def _one(series, **options):
    sample = read_sample(pd.DataFrame({"c": series}), **options)
    return sample.fields[0], sample.inputs["c"], sample.options["columns"].get("c", {})


@pytest.mark.parametrize(
    ("series", "datatype", "nullable", "options"),
    [
        (pd.Series([1, 2]), "INT64", False, {}),
        (pd.Series([1, 2], dtype="uint8"), "UINT8", False, {}),
        (pd.Series([1.5, 2], dtype="float32"), "FP32", False, {}),
        (pd.Series([1.5, None]), "FP64", True, {}),
        (pd.Series([True, False]), "BOOL", False, {}),
        (pd.Series(["a", "b"]), "BYTES", False, {}),
        (pd.Series(["a", np.nan]), "BYTES", True, {}),
        (pd.Series(["a", None], dtype=object), "BYTES", True, {"dtype": "object"}),
        (pd.Series(["a", None], dtype="string"), "BYTES", True, {"dtype": "string"}),
        (pd.Series([1, 2], dtype="Int32"), "INT32", False, {"dtype": "Int32"}),
        (pd.Series([1, None], dtype="Int64"), "FP64", True, {"dtype": "Int64"}),
        (pd.Series([1.5, None], dtype="Float64"), "FP64", True, {"dtype": "Float64"}),
    ],
)
def test_columns(series, datatype, nullable, options):
    field, values, told = _one(series)
    assert (field.datatype, field.nullable, field.shape, told) == (datatype, nullable, (-1,), options)
    assert len(values) == len(series)


def test_categories_are_kept_in_their_order():
    field, values, told = _one(pd.Series(pd.Categorical(["lo", "hi", None], ["lo", "mid", "hi"], ordered=True)))
    assert (field.datatype, field.nullable, field.categories) == ("BYTES", True, ("lo", "mid", "hi"))
    assert told == {"dtype": "category", "categories": ["lo", "mid", "hi"], "ordered": True}
    assert values.tolist() == ["lo", "hi", None]
    field, values, _ = _one(pd.Series([3, 5, 3], dtype="category"))
    assert (field.datatype, field.categories, values.tolist()) == ("INT64", (3, 5), [3, 5, 3])
    field, values, _ = _one(pd.Series([3, None, 3], dtype="category"))
    assert (field.datatype, field.nullable, field.categories) == ("FP64", True, (3.0,))


def test_names_are_not_taken_for_categories():
    field, _, _ = _one(pd.Series(["Ada", "Ben", "Cleo"]))
    assert field.categories is None
    field, _, _ = _one(pd.Series(["yes", "no"] * 4))
    assert field.categories == ("no", "yes")


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1, "a"], dtype=object),
        pd.Series([True, None], dtype=object),
        pd.Series([True, None], dtype="boolean"),
        pd.Series([2**60, None], dtype="Int64"),
        pd.Series(pd.to_datetime(["2026-01-01"])),
        pd.Series(pd.to_timedelta(["1h"])),
        pd.Series([1 + 2j]),
        pd.Series([1.5], dtype="longdouble"),
        pd.Series([[1], [2]]),
        pd.Series([b"bytes"]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_columns_that_no_datatype_carries(series):
    with pytest.raises(InvalidInput) as failure:
        _one(series)
    assert failure.value.code == "unsupported-column"
    assert "'c'" in failure.value.message


def test_a_type_told_for_a_csv_is_used_before_its_zeros_are_lost(tmp_path):
    (tmp_path / "a.csv").write_text("zip,n\n01234,1\n00007,2\n")
    sample = read_sample(tmp_path / "a.csv", dtypes={"zip": "str", "n": "FP32"})
    assert sample.inputs["zip"].tolist() == ["01234", "00007"]
    assert sample.inputs["n"].dtype == np.float32


def test_the_digest_is_of_the_values_and_not_of_the_file(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "t": [0, 1, 0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    digests = {read_sample(data, target="t").digest() for data in (frame, tmp_path / "a.csv", tmp_path / "a.parquet")}
    assert len(digests) == 1
    assert read_sample(frame).digest() not in digests
    assert list(frame.columns) == ["a", "b", "t"]


def test_arrays():
    sample = read_sample([[1, 2], [3, 4]])
    assert (sample.layout, sample.fields[0].name, sample.fields[0].datatype) == ("matrix", "x", "INT64")
    assert read_sample(pd.DataFrame(np.zeros((2, 3)))).layout == "matrix"
    assert read_sample(np.array([["a", "b"]])).inputs["x"].tolist() == [["a", "b"]]
    assert read_sample(np.array([[1.0, np.nan]])).fields[0].nullable
    several = read_sample({"image": np.zeros((2, 3, 3), np.uint8), "size": np.zeros(2)})
    assert (several.layout, several.fields[0].shape) == ("tensors", (-1, 3, 3))


def test_npz_with_a_target(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.zeros((4, 2)), label=np.arange(4))
    sample = read_sample(tmp_path / "a.npz", target="label")
    assert (sample.layout, sample.inputs["x"].shape, sample.target.tolist()) == ("matrix", (4, 2), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"a,b\n1,2,3,4\n1\n,,,,,\n"),
        ("a.csv", b"\xff\xfe\x00"),
        ("a.parquet", b"PAR1 nothing"),
        ("a.npz", b"PK nothing"),
        ("a.npz", b""),
        ("a.npy", b"\x93NUMPY nothing"),
        ("a.xlsx", b"PK"),
        ("a", b"1"),
    ],
)
def test_files_that_cannot_be_read(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput) as failure:
        read_sample(tmp_path / name)
    assert failure.value.code == "unreadable-sample"


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (pd.DataFrame({"a": []}, dtype=float), {}, "empty-sample"),
        (np.zeros((0, 3)), {}, "empty-sample"),
        (np.zeros((3, 0)), {}, "empty-sample"),
        (pd.DataFrame({"a": [1]}), {"target": "a"}, "empty-sample"),
        (pd.DataFrame({"a": [1]}), {"target": "b"}, "unknown-column"),
        (pd.DataFrame({"a": [1]}), {"dtypes": {"b": "str"}}, "unknown-column"),
        (pd.DataFrame({"a": [1]}), {"dtypes": {"a": "nonsense"}}, "unknown-datatype"),
        (pd.DataFrame({"a": ["x"]}), {"dtypes": {"a": "int64"}}, "unreadable-sample"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "invalid-column-name"),
        (pd.DataFrame([[1, 2]], columns=["a", 7]), {}, "invalid-column-name"),
        (pd.DataFrame({"a\n": [1]}), {}, "invalid-column-name"),
        (np.array([[1, "a", None]], object), {}, "unsupported-column"),
        (np.zeros((2, 2)), {"dtypes": {"x": "FP32"}}, "unknown-column"),
        (np.zeros((2, 2), complex), {}, "unsupported-column"),
        (object(), {}, "unreadable-sample"),
    ],
)
def test_samples_that_are_refused(data, options, code):
    with pytest.raises(PenstockError) as failure:
        read_sample(data, **options)
    assert failure.value.code == code


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotFound):
        read_sample(tmp_path / "nothing.csv")
