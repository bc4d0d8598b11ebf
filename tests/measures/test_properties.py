"""However often one looks, the stated chance of being wrong holds; and what is there is found. Seeds are fixed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.measures import (
    asymptotic,
    beta_binomial,
    cuped,
    distance,
    quantile,
    sample_ratio,
)
from penstock.measures.asymptotic import Moments
from penstock.measures.z_test import two_rates

RUNS = 200
# Were the chance exactly 5 %, more than this of 200 runs would be wrong once in 1 500 times.
MOST = 21


def looks(last, every):
    return range(every, last + 1, every)


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_means_of_skewed_values(sigma):
    rng, wrong, found = np.random.default_rng(3), 0, 0

    def of(values):
        return Moments(len(values), values.mean(), values.var(ddof=1))

    for _ in range(RUNS):
        one, two = np.exp(rng.normal(0, sigma, (2, 6000)))
        pieces = [asymptotic.difference([(of(one[:n]), of(two[:n]))], 0.05) for n in looks(6000, 300)]
        wrong += any(not piece.low <= 0 <= piece.high for piece in pieces)
        found += asymptotic.difference([(of(one), of(1.3 * two))], 0.05).low > 0
    assert wrong <= MOST and found >= RUNS * 0.95


def test_a_mean_stays_in_its_interval_which_is_that_of_half_width():
    rng, wrong = np.random.default_rng(16), 0
    sizes = np.arange(100, 4001, 100)
    for _ in range(RUNS):
        values = np.exp(rng.normal(size=4000))
        sums, squares = np.cumsum(values)[sizes - 1], np.cumsum(values**2)[sizes - 1]
        means = sums / sizes
        halves = asymptotic.half_width(sizes, np.sqrt((squares - sums * means) / (sizes - 1)), 0.05)
        wrong += (np.abs(means - np.exp(0.5)) > halves).any()
    assert wrong <= MOST
    one = asymptotic.mean(Moments(4000, values.mean(), values.var(ddof=1)), 0.05)
    assert one.high - one.low == pytest.approx(2 * halves[-1]) and one.estimate == pytest.approx(means[-1])


def test_of_values_that_never_differed_nothing_is_said():
    same, other = Moments(500, 1.0, 0.0), Moments(500, 2.0, 0.5)
    for found in (
        asymptotic.mean(same, 0.05), asymptotic.mean(Moments(1, 3.0, 0.0), 0.05),
        asymptotic.difference([(same, same)], 0.05), asymptotic.difference([(Moments(1, 0.0, 0.0), other)], 0.05),
        asymptotic.lift(same, same, 0.05), asymptotic.lift(Moments(500, 0.0, 1.0), other, 0.05),
    ):  # fmt: skip
        assert (found.low, found.high) == (-np.inf, np.inf)
    assert np.isfinite(asymptotic.difference([(same, same), (same, other)], 0.05).high)


def test_strata_are_compared_among_themselves():
    # What is slow at night is not worse, though it came at night: Simpson's paradox.
    day, night = (
        (Moments(9000, 10.0, 4.0), Moments(1000, 10.0, 4.0)),
        (Moments(1000, 30.0, 4.0), Moments(9000, 30.0, 4.0)),
    )
    assert asymptotic.difference([day, night], 0.05).estimate == 0
    pooled = Moments(10_000, 12.0, 4.0), Moments(10_000, 28.0, 4.0)
    assert asymptotic.difference([pooled], 0.05).low > 0


def test_quantiles_of_equals_and_of_others():
    rng, wrong, found = np.random.default_rng(4), 0, 0
    for _ in range(60):
        one, two = np.exp(rng.normal(0, 0.5, (2, 20_000)))

        def ratio(n, factor=1.0, one=one, two=two):
            arms = (quantile.interval(values[:n], 0.99, 0.025) for values in (one, two * factor))
            return quantile.ratio(*arms)

        wrong += any(not piece.low <= 1 <= piece.high for piece in map(ratio, looks(20_000, 2000)))
        found += ratio(20_000, 1.2).low > 1
    assert wrong <= 9 and found >= 57


def test_a_quantile_of_units_is_surer_of_nothing_than_that_of_so_many_values():
    rng = np.random.default_rng(5)
    values = np.repeat(rng.random(500), 20)
    weights = np.repeat(1 / 20, len(values))
    found = quantile.interval(values, 0.9, 0.05, weights=weights, units=500)
    plain = quantile.interval(values, 0.9, 0.05)
    assert found.high - found.low > plain.high - plain.low


def test_distances_of_equals_and_of_others():
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(50):
        one, two = rng.normal(size=(2, 4000))
        wrong += any(distance.kolmogorov_smirnov(one[:n], two[:n], 0.05).low > 0 for n in looks(4000, 500))
    assert wrong <= 7
    assert distance.kolmogorov_smirnov(one, two + 0.5, 0.05).low > 0.05
    assert distance.total_variation({"a": 4000, "b": 6000}, {"a": 6000, "b": 4000}, 0.05).low > 0.1
    assert distance.total_variation({}, {"a": 1}, 0.05).high == 1


def test_the_sample_ratio_may_be_looked_at_after_every_unit():
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(RUNS):
        arms = rng.random(5000) < 0.1
        inside = np.cumsum(arms)
        wrong += any(
            sample_ratio.always_valid_p([n - inside[n - 1], inside[n - 1]], [0.9, 0.1]) < 0.05 for n in looks(5000, 100)
        )
    assert wrong <= MOST
    assert sample_ratio.always_valid_p([5000, 4500], [0.5, 0.5]) < 0.001


def test_a_covariate_takes_its_share_of_the_variance():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(2, 5000))
    y = 0.8 * x + 0.6 * rng.normal(size=(2, 5000))
    arms = [
        cuped.Sums(5000, b.sum(), (b * b).sum(), a.sum(), (a * a).sum(), (a * b).sum())
        for a, b in zip(x, y, strict=True)
    ]
    before, after = arms[0].moments(), cuped.adjusted(*arms)[0]
    assert after.variance / before.variance == pytest.approx(1 - 0.8**2, abs=0.03)
    assert before.variance == pytest.approx(y[0].var(ddof=1))


def test_peeking_at_a_z_test_is_wrong_far_more_often_than_it_says():
    rng, peeked, ours = np.random.default_rng(9), 0, 0
    for _ in range(400):
        one, two = np.cumsum(rng.random((2, 3000)) < 0.3, axis=1)
        days = looks(3000, 100)
        peeked += any(two_rates((one[n - 1], two[n - 1]), (n, n), one_sided=False) < 0.05 for n in days)

        def of(sums, n):
            rate = sums[n - 1] / n
            return Moments(n, rate, rate * (1 - rate))

        pieces = [asymptotic.difference([(of(one, n), of(two, n))], 0.05) for n in days]
        ours += any(not piece.low <= 0 <= piece.high for piece in pieces)
    assert 0.24 < peeked / 400 < 0.36 and ours <= 30


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_interval_of_a_rate_holds_its_rate(successes, failures):
    found = beta_binomial.rate_interval(successes, successes + failures, 0.05)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
