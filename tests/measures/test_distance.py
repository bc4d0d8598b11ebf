"""Distances of distributions: the published numbers, other libraries', and bounds that hold however often one looks."""

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from penstock.measures import distance
from penstock.measures.beta_binomial import rate_interval


def test_the_largest_gap_of_the_reference():
    def gap(one, two):
        return distance.largest_gap(Counter(one), Counter(two), 0.05).estimate

    assert round(gap("aabbcc", "aabbccd"), 2) == 0.14
    assert round(gap("aabbcc", "bbbbb"), 2) == 0.67


def test_jensen_and_shannon_s():
    assert distance.jensen_shannon({"a": 1}, {"b": 1}) == pytest.approx(1)
    assert distance.jensen_shannon({"a": 1}, {"a": 1, "b": 1}, np.e) == pytest.approx(0.464501404022459)
    one, two = {"a": 3, "b": 5, "c": 2}, {"a": 1, "b": 1, "d": 8}
    expected = jensenshannon([3, 5, 2, 0], [1, 1, 0, 8], 2)
    assert distance.jensen_shannon(one, two) == pytest.approx(expected)


@pytest.mark.parametrize("ties", [False, True])
def test_kolmogorov_s_and_smirnov_s_is_that_of_scipy(ties):
    one, two = np.random.default_rng(14).normal(0.0, 1.0, (2, 700))
    two = two + 0.2
    if ties:
        one, two = one.round(1), two.round(1)
    found = distance.kolmogorov_smirnov(one[:500], two, 0.05)
    assert found.estimate == pytest.approx(ks_2samp(one[:500], two).statistic)
    assert found.low <= found.estimate <= found.high


def test_gaps_of_equals_and_of_others():
    rng, wrong = np.random.default_rng(15), 0
    chances = np.array([0.6, 0.3, 0.08, 0.02])

    def counts(labels):
        return {str(label): int(count) for label, count in enumerate(np.bincount(labels, minlength=4))}

    for _ in range(60):
        one, two = rng.choice(4, (2, 1600), p=chances)
        looks = (distance.largest_gap(counts(one[:n]), counts(two[:n]), 0.05) for n in (20, 100, 400, 1600))
        wrong += any(found.low > 0 for found in looks)
    assert wrong <= 9
    other = rng.choice(4, 1600, p=chances[::-1])
    found = distance.largest_gap(counts(one), counts(other), 0.05)
    assert found.low > 0.4 and found.low < 0.58 < found.high
    assert distance.largest_gap({}, {"a": 3}, 0.05).high == 1


def test_the_gap_of_two_labels_is_that_of_their_rates():
    found = distance.largest_gap({"a": 700, "b": 300}, {"a": 500, "b": 500}, 0.08)
    one, two = rate_interval(700, 1000, 0.02), rate_interval(500, 1000, 0.02)
    assert (found.low, found.high) == pytest.approx((one.low - two.high, one.high - two.low), abs=1e-6)
