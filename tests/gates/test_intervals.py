"""Bounds hold as often as they say, and few rows decide nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from penstock.gates.intervals import Interval, least_width, paired_share, percentiles, resampled, share


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (450, 500)])
def test_exact_bounds_are_where_the_binomial_tails_are(successes, trials):
    found = share(successes, trials, 0.05, 0.01)
    if successes:
        assert binom.sf(successes - 1, trials, found.low) == pytest.approx(0.05, rel=1e-6)
    if successes < trials:
        assert binom.cdf(successes, trials, found.high) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(("won", "lost", "trials"), [(0, 1, 44), (5, 12, 100), (0, 0, 30), (9, 2, 40)])
def test_paired_bounds_are_where_the_score_test_rejects(won, lost, trials):
    """The nuisance by brute force: the likeliest share lost, given the difference."""
    found = paired_share(won, lost, trials, 0.05, 0.05)
    lost_shares = np.linspace(1e-9, 1, 400_001)
    for bound, z in ((found.low, 1.6448536), (found.high, -1.6448536)):
        won_shares = lost_shares + bound
        rest = 1 - won_shares - lost_shares
        allowed = (won_shares > 0) & (rest > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = won * np.log(won_shares) + lost * np.log(lost_shares) + (trials - won - lost) * np.log(rest)
        likeliest = lost_shares[allowed][np.argmax(likelihood[allowed])]
        variance = trials * (2 * likeliest + bound - bound**2)
        assert (won - lost - trials * bound) / np.sqrt(variance) == pytest.approx(z, abs=2e-3)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 300))
def test_paired_bounds_hold_the_difference_and_turn_with_the_sides(won, lost, same):
    trials = won + lost + same
    if not trials:
        return
    one, other = paired_share(won, lost, trials, 0.05, 0.05), paired_share(lost, won, trials, 0.05, 0.05)
    assert -1 <= one.low <= (won - lost) / trials + 1e-9
    assert (won - lost) / trials - 1e-9 <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


@pytest.mark.parametrize(("rows", "wins", "losses"), [(60, 0.05, 0.05), (60, 0.02, 0.10), (300, 0.05, 0.08)])
def test_paired_bounds_are_missed_about_as_often_as_they_say(rows, wins, losses):
    rng = np.random.default_rng(5)
    counts = rng.multinomial(rows, [wins, losses, 1 - wins - losses], 2000)
    found = [paired_share(int(won), int(lost), rows, 0.05, 0.05) for won, lost, _ in counts]
    truth = wins - losses
    assert np.mean([truth < one.low for one in found]) <= 0.07
    assert np.mean([truth > one.high for one in found]) <= 0.07


def test_a_paired_bootstrap_is_missed_about_as_often_as_it_says():
    rng, missed = np.random.default_rng(6), []
    for seed in range(150):
        hard = rng.normal(size=80)
        gap = (hard + rng.normal(0.3, 0.5, 80)) - (hard + rng.normal(0.0, 0.5, 80))
        values = resampled(lambda rows, gap=gap: (gap[rows].mean(),), 80, 200, seed)
        found = percentiles(values[:, 0], gap.mean(), 0.05, 0.05)
        missed.append((found.low > 0.3, found.high < 0.3))
    # 5 % are wanted of each; 150 trials show up to 10 % by chance once in two hundred times.
    assert np.mean(missed, axis=0).max() <= 0.10
    assert np.mean(missed) > 0


def test_resampling_is_seeded():
    def once(seed):
        return resampled(lambda rows: (float(rows.sum()),), 50, 20, seed).tolist()

    assert once(1) == once(1) != once(2)


def test_a_statistic_that_is_mostly_undefined_has_no_interval():
    values = resampled(lambda rows: (np.nan if rows[0] % 2 else 1.0,), 10, 100, 0)
    assert percentiles(values[:, 0], 1.0, 0.05, 0.05).method == "undefined"


def test_rows_that_all_look_alike_are_not_certain():
    found = percentiles(np.zeros(100), 0.0, 0.05, 0.05, least_width(20, 0.05))
    assert found.low < -0.1
    assert found.at_least(-0.01) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [(1, 2, "pass", "fail"), (-2, -1, "fail", "pass"), (-1, 1, "inconclusive", "inconclusive"), (0, 0, "pass", "pass")],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, high, least, most):
    found = Interval(low, high, "exact")
    assert (found.at_least(0), found.at_most(0)) == (least, most)
