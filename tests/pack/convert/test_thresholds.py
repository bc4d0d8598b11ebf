"""A double threshold splits doubles exactly where a library splits them after rounding to float32."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.pack.convert.thresholds import float32_at_most, float32_less

LARGEST = float(np.finfo(np.float32).max)
# numpy compares a float32 with a Python float in float32; with its own double it compares in double, as Cython does.
doubles = st.floats(-1e38, 1e38).map(np.float64)
singles = st.floats(-(2.0**126), 2.0**126, width=32).map(np.float32)


def _rounded(x):
    with np.errstate(over="ignore"):
        return np.float32(x)


@given(doubles)
def test_at_most_is_the_last_double_that_goes_left(threshold):
    bound = float32_at_most([threshold])[0]
    assert _rounded(bound) <= threshold
    assert not _rounded(np.nextafter(bound, np.inf)) <= threshold


@given(singles)
def test_less_is_the_last_double_that_goes_left(threshold):
    bound = float32_less([threshold])[0]
    assert _rounded(bound) < threshold
    assert not _rounded(np.nextafter(bound, np.inf)) < threshold


@given(doubles, doubles)
def test_any_double_goes_the_same_way(threshold, x):
    assert (x <= float32_at_most([threshold])[0]) == bool(_rounded(x) <= threshold)
    assert (x <= float32_less([np.float32(threshold)])[0]) == bool(_rounded(x) < np.float32(threshold))


def test_thresholds_at_the_edges():
    edges = np.array([0.0, -0.0, LARGEST, -LARGEST, 1e-45, -1e-45, 1e39])
    bounds = float32_at_most(edges)
    assert (_rounded(bounds) <= edges).all()
    assert not (_rounded(np.nextafter(bounds, np.inf))[:-1] <= edges[:-1]).any()
