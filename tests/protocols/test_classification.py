"""The classification extension: order, ties, labels, missing values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.core.errors import InvalidInput
from penstock.protocols.oip.classification import classified


def test_labels_stand_where_their_number_fits():
    scores = np.array([[0.5, 0.5, 0.0]], np.float32)
    assert classified("p", scores, 2, ["a", "b", "c"], batched=True).tolist() == [["0.500000:0:a", "0.500000:1:b"]]
    assert classified("p", scores, 2, ["a", "b"], batched=True).tolist() == [["0.500000:0", "0.500000:1"]]
    assert classified("p", scores[0], 1, None, batched=False).tolist() == ["0.500000:0"]
    assert classified("p", np.array([3, 7]), 5, None, batched=True).tolist() == [["3.000000:0"], ["7.000000:0"]]


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(width=32)),
    st.integers(1, 9),
)
def test_the_values_are_the_largest_and_each_is_its_index(scores, count):
    found = classified("p", scores, count, None, batched=True)
    assert found.shape == (len(scores), min(count, scores.shape[1]))
    for row, said in zip(scores, found, strict=True):
        indices = [int(one.split(":")[1]) for one in said]
        assert len(set(indices)) == len(indices)
        values = row[indices]
        numbers = values[~np.isnan(values)]
        assert (numbers[:-1] >= numbers[1:]).all()
        left = np.delete(row, indices)
        left = left[~np.isnan(left)]
        assert not len(left) or (not np.isnan(values).any() and left.max() <= values.min())


def test_text_has_no_order():
    with pytest.raises(InvalidInput, match="no numbers"):
        classified("p", np.array([["a"]], object), 1, None, batched=True)
