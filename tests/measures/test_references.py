"""Every method against numbers that others published: the authors' own code, or the paper."""

import pytest
from scipy.stats import chi2_contingency, ttest_ind_from_stats

from penstock.measures import (
    asymptotic,
    beta_binomial,
    cuped,
    gamma_mixtures,
    normal_mixture,
    sample_ratio,
    stitching,
    z_test,
)

# v = v_opt = 100, alpha = 0.05: the values that confseq's own tests have from its authors' R code.
V, ALPHA = 100.0, 0.05
TWO = normal_mixture.best_rho(V, ALPHA)
ONE = normal_mixture.best_rho(V, ALPHA, one_sided=True)


def near(value, tolerance=1e-5):
    return pytest.approx(value, rel=tolerance, abs=tolerance)


def test_the_normal_mixture():
    assert near(12.60056) == TWO
    assert normal_mixture.log_mixture(10, V, TWO) == near(-0.6510052)
    assert normal_mixture.bound(V, TWO, ALPHA) == near(30.35209)
    assert normal_mixture.log_mixture(10, V, ONE, one_sided=True) == near(-0.06502391)
    assert normal_mixture.bound_one_sided(V, ONE, ALPHA) == near(27.66071)


@pytest.mark.parametrize(
    ("curve", "value", "bound"),
    [
        (gamma_mixtures.log_gamma_exponential, -0.2490165, 33.02017),
        (gamma_mixtures.log_gamma_poisson, -0.06991219, 30.1949),
    ],
)
def test_the_gamma_mixtures(curve, value, bound):
    assert curve(10, V, ONE, 2.0) == near(value)
    assert gamma_mixtures.bound(curve, V, ONE, 2.0, ALPHA) == near(bound)


def test_the_beta_binomial_mixture():
    assert beta_binomial.log_mixture(10, V, TWO, 0.2, 0.8) == near(-0.6941012)
    assert beta_binomial.bound(V, TWO, 0.2, 0.8, ALPHA) == near(31.4308)
    assert beta_binomial.bound(V, ONE, 0.2, 0.8, ALPHA, one_sided=True) == near(28.41238)


def test_stitching():
    assert stitching.poly_stitching(V, ALPHA, 10, 3) == near(64.48755)
    assert stitching.poly_stitching(V, ALPHA, 10, -1) == near(28.99389)
    assert stitching.empirical_process(1000, ALPHA, 100, 0.85) == near(0.08204769)


@pytest.mark.parametrize(
    ("successes", "trials", "best_at", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
        (100, 200, 1, 0.328923, 0.671076),
    ],
)
def test_the_interval_of_a_rate(successes, trials, best_at, low, high):
    found = beta_binomial.rate_interval(successes, trials, ALPHA, best_at)
    assert (found.low, found.high) == (near(low), near(high))


def moments(total, squares, count):
    return cuped.Sums(count, total, squares, 0, 0, 0).moments()


def test_relative_lift_and_its_deviation():
    arms = moments(1396.87, 52377.9767, 3000), moments(2422.7, 134698.29, 3461)
    found = asymptotic.lift(*arms, ALPHA, 1000)
    assert (found.estimate, found.low, found.high) == (near(0.50336), near(-0.55844), near(1.56516))
    assert asymptotic.half_width(6461, 0.33341221 * 6461**0.5, ALPHA, 1000) == near(1.06179, 2e-5)
    rates = [asymptotic.Moments(n, k / n, k / n * (1 - k / n)) for k, n in ((1396, 3000), (2422, 3461))]
    found = asymptotic.lift(*rates, ALPHA)
    assert (found.estimate, found.low, found.high) == (near(0.50386), near(0.40098), near(0.60675))


def test_cuped():
    arms = (
        cuped.Sums(3000, 1396.87, 52377.9767, 16.87, 527.9767, 1.0),
        cuped.Sums(3461, 2422.7, 134698.29, 22.7, 1348.29, 1.0),
    )
    before = (arms[0].y / 3000, arms[1].y / 3461)
    found = asymptotic.lift(*cuped.adjusted(*arms), ALPHA, unadjusted=before)
    assert (found.estimate, found.low, found.high) == (near(0.50338), near(-0.50969), near(1.51646))


def test_sample_ratio_and_sample_size():
    statistic, p = sample_ratio.chi_square([821_588, 815_482], [0.5, 0.5])
    assert (round(statistic, 3), f"{p:.3g}") == (22.774, "1.82e-06")
    assert z_test.needed(0.07, 0.09, 0.05, 0.95) == 3980


def test_z_tests_are_those_of_scipy():
    arms = [asymptotic.Moments(4000, 10.0, 25.0), asymptotic.Moments(3000, 10.2, 9.0)]
    two = [(arm.mean, arm.variance**0.5, arm.count) for arm in reversed(arms)]
    expected = ttest_ind_from_stats(*two[0], *two[1], equal_var=False, alternative="greater").pvalue
    assert z_test.two_means(*arms) == pytest.approx(expected, rel=0.01)
    table = [[70, 930], [90, 910]]
    assert z_test.two_rates((70, 90), (1000, 1000), one_sided=False) == pytest.approx(
        chi2_contingency(table, correction=False).pvalue
    )
    assert z_test.two_rates((0, 0), (10, 10)) == 1
    size = z_test.needed_for_means(0.2, 1.0, 0.05, 0.95)
    assert z_test.two_means(asymptotic.Moments(size, 0, 1.0), asymptotic.Moments(size, 0.1, 1.0)) == pytest.approx(
        0.05, rel=0.01
    )
