"""The reference profile: statistics that a reader can count new data against."""

import numpy as np
import pytest

from penstock.bundle.profile import read_profile, write_profile
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.pack.profiling import profile_of


def _signature(*fields, classes=None):
    outputs = (Field(name="predictions", datatype="FP64", shape=(-1,)),)
    return Signature(inputs=fields, outputs=outputs, layout="table", classes=classes)


def _profile(values, classes=None, target=None, **field):
    described = Field(name="a", **{"datatype": "FP64", "shape": (-1, *values.shape[1:]), **field})
    answers = {"predictions": np.arange(len(values), dtype=float)}
    return profile_of(_signature(described, classes=classes), {"a": values}, answers, target)


def test_numbers():
    values = np.array([1.0, 2.0, 3.0, 4.0, np.nan, np.inf])
    (column,) = _profile(values, nullable=True).inputs
    numbers = column.numbers
    assert (column.count, column.nulls, numbers.infinite) == (6, 1, 1)
    assert (numbers.mean, numbers.min, numbers.max) == (2.5, 1.0, 4.0)
    assert len(numbers.edges) == len(numbers.counts) + 1
    assert sum(numbers.counts) == 4
    assert numbers.quantiles[numbers.levels.index(0.5)] == 2.5


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, 1e300), np.full(3, np.nan)])
def test_numbers_without_a_range(values):
    (column,) = _profile(values, nullable=True).inputs
    if column.numbers is not None:
        assert sum(column.numbers.counts) == len(values)


def test_a_matrix_has_a_profile_per_column_and_an_image_one():
    assert [c.name for c in _profile(np.zeros((4, 3))).inputs] == ["a[0]", "a[1]", "a[2]"]
    assert [c.name for c in _profile(np.zeros((2, 40, 40))).inputs] == ["a"]


def test_categories_are_counted_and_free_text_is_not_copied():
    values = np.array(["x", "y", "x", None, "Ada Lovelace"], object)
    (column,) = _profile(values, datatype="BYTES", nullable=True, categories=("x", "y")).inputs
    assert column.nulls == 1
    assert column.categories.counts[0] == ("x", 2)
    (column,) = _profile(values, datatype="BYTES", nullable=True).inputs
    assert (column.categories.counts, column.categories.other, column.categories.distinct) == ((("x", 2),), 2, 3)


def test_quality():
    values = np.zeros((4, 1))
    assert _profile(values, target=np.array([0.0, 1.0, 2.0, 4.0])).quality == {
        "rmse": 0.5,
        "r2": pytest.approx(0.8857, abs=1e-4),
    }
    assert _profile(values, classes=(0, 1), target=np.array([0.0, 1.0, 2.0, 9.0])).quality == {"accuracy": 0.75}
    assert _profile(values, target=np.array(["a", "b", "c", "d"], object)).quality == {}


def test_a_profile_reads_back_and_a_newer_or_damaged_one_is_refused(tmp_path):
    profile = _profile(np.arange(9.0))
    path = tmp_path / "profile.json"
    write_profile(profile, path)
    assert read_profile(path) == profile
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2').replace(b'"inputs"', b'"columns"'))
    with pytest.raises(InvalidInput) as failure:
        read_profile(path)
    assert failure.value.code == "newer-format"
    path.write_bytes(b"{")
    with pytest.raises(InvalidInput):
        read_profile(path)
