"""The curves themselves: noise of the kind that each is for crosses it, ever, as seldom as it says. Seeds are fixed."""

import numpy as np
import pytest

from penstock.measures import beta_binomial, gamma_mixtures, normal_mixture, stitching

ALPHA, RUNS, LAST = 0.05, 1000, 1000
# Were the chance exactly 5 %, more than this of 1 000 runs would cross once in 1 500 times.
MOST = 73
LOOKS = np.unique(np.geomspace(2, LAST, 80).astype(int))
ONE = normal_mixture.best_rho(100, ALPHA, one_sided=True)
TWO = normal_mixture.best_rho(100, ALPHA)


def normal(rng):
    return rng.normal(size=(RUNS, LAST))


def exponential(rng):
    return rng.exponential(size=(RUNS, LAST)) - 1


def poisson(rng):
    return rng.poisson(1.0, (RUNS, LAST)) - 1.0


def rates(rng):
    return (rng.random((RUNS, LAST)) < 0.2) - 0.2


# Noise, its variance, whether both directions count, and the curve at an intrinsic time.
CURVES = {
    "normal mixture": (normal, 1, True, lambda v: float(normal_mixture.bound(v, TWO, ALPHA))),
    "normal mixture, one side": (normal, 1, False, lambda v: normal_mixture.bound_one_sided(v, ONE, ALPHA)),
    "gamma-exponential": (
        exponential, 1, False,
        lambda v: gamma_mixtures.bound(gamma_mixtures.log_gamma_exponential, v, ONE, 1.0, ALPHA),
    ),
    "gamma-Poisson": (
        poisson, 1, False, lambda v: gamma_mixtures.bound(gamma_mixtures.log_gamma_poisson, v, ONE, 1.0, ALPHA)
    ),
    "beta-binomial, one side": (
        rates, 0.16, False, lambda v: beta_binomial.bound(v, 0.16 * ONE, 0.2, 0.8, ALPHA, one_sided=True)
    ),
    "stitching": (normal, 1, False, lambda v: stitching.poly_stitching(v, ALPHA, 1.0)),
    "stitching of exponentials": (exponential, 1, False, lambda v: stitching.poly_stitching(v, ALPHA, 1.0, c=1.0)),
}  # fmt: skip


@pytest.mark.parametrize(("noise", "variance", "both", "curve"), CURVES.values(), ids=CURVES)
def test_noise_crosses_as_seldom_as_stated_and_a_drift_crosses(noise, variance, both, curve):
    sums = np.cumsum(noise(np.random.default_rng(11)), axis=1)[:, LOOKS - 1]
    bounds = np.array([curve(variance * look) for look in LOOKS])
    crossed = ((np.abs(sums) if both else sums) >= bounds).any(axis=1).sum()
    assert crossed <= MOST
    # Nor is a curve so far away that nothing ever crosses it; stitching pays for its shape.
    assert crossed >= 2 or curve is CURVES["stitching of exponentials"][-1]
    assert ((sums + 0.3 * np.sqrt(variance) * LOOKS)[:, -1] >= bounds[-1]).mean() > 0.95


def test_a_distribution_leaves_its_band_as_seldom_as_stated():
    rng, left = np.random.default_rng(12), 0
    looks = (100, 150, 200, 400, 800, 1600)
    widths = {look: stitching.empirical_process(look, ALPHA, 100) for look in looks}
    for _ in range(400):
        values = rng.random(1600)
        for look in looks:
            # The largest distance is at a value, just before it or at it.
            seen = np.sort(values[:look])
            steps = np.arange(look + 1) / look
            if max((steps[1:] - seen).max(), (seen - steps[:-1]).max()) > widths[look]:
                left += 1
                break
    assert left <= 33
    assert widths[1600] < 0.07


def test_the_two_sided_beta_binomial_curve_of_one_direction_is_that_of_the_other_turned_around():
    one = beta_binomial.log_mixture(7.0, 50.0, TWO, 0.2, 0.8)
    assert one == pytest.approx(beta_binomial.log_mixture(-7.0, 50.0, TWO, 0.8, 0.2))


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_a_rate_stays_in_its_interval(rate):
    rng, wrong = np.random.default_rng(13), 0
    for _ in range(200):
        sums = np.cumsum(rng.random(2000) < rate)
        pieces = (beta_binomial.rate_interval(int(sums[n - 1]), n, ALPHA) for n in (10, 30, 100, 300, 1000, 2000))
        wrong += any(not piece.low <= rate <= piece.high for piece in pieces)
    assert wrong <= 21
