"""The cost curve finds the fixed part and the slope, and never says what cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.cost import CostCurve

BATCHES = st.lists(st.tuples(st.integers(1, 256), st.floats(1e-6, 10.0)), min_size=1, max_size=40)


def curve_of(batches) -> CostCurve:
    curve = CostCurve()
    for rows, seconds in batches:
        curve.observe(rows, seconds)
    return curve


def test_nothing_observed_costs_nothing():
    assert CostCurve().queue_s(1000, 64) == 0.0


@given(st.floats(0, 1), st.floats(1e-6, 1e-2), st.lists(st.integers(1, 256), min_size=2, max_size=30))
def test_a_line_is_found_exactly(fixed, slope, sizes):
    if len(set(sizes)) == 1:
        sizes = [*sizes, sizes[0] + 1]
    curve = curve_of((rows, fixed + slope * rows) for rows in sizes)
    assert curve.batch_s(100) == pytest.approx(fixed + 100 * slope, rel=1e-4, abs=1e-7)


@given(BATCHES)
def test_more_rows_never_cost_less_and_nothing_costs_less_than_nothing(batches):
    curve = curve_of(batches)
    costs = [curve.batch_s(rows) for rows in (0, 1, 64, 256)]
    assert costs == sorted(costs)
    assert costs[0] >= -1e-9


def test_batches_of_one_size_are_taken_as_proportional():
    assert curve_of([(10, 0.5)] * 5).batch_s(20) == pytest.approx(1.0)


def test_one_stalled_batch_of_a_cheap_model_does_not_make_each_row_expensive():
    curve = curve_of([(1, 0.0003), (64, 0.0003)] * 20)
    curve.observe(1, 0.2)
    assert curve.queue_s(64, 64) < 0.05


def test_a_queue_is_worked_off_in_batches():
    curve = curve_of([(1, 0.011), (64, 0.074)] * 3)
    assert curve.queue_s(130, 64) == pytest.approx(2 * 0.074 + 0.012, rel=1e-3)
