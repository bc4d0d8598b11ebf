"""Traffic by the chance of being best: the chances are right, weights add up, and the better arm gets the traffic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, t

from penstock.core.errors import InvalidInput
from penstock.measures.asymptotic import Moments
from penstock.measures.thompson import best_mean, best_rate, weights


def test_the_chance_of_the_higher_rate_is_that_of_the_integral():
    one, two = beta(1 + 12, 1 + 88), beta(1 + 20, 1 + 80)
    exact = quad(lambda p: two.pdf(p) * one.cdf(p), 0, 1)[0]
    found = best_rate([12, 20], [100, 100], np.random.default_rng(1), draws=200_000)
    assert found[1] == pytest.approx(exact, abs=0.005) and found.sum() == pytest.approx(1)


def test_the_chance_of_the_higher_mean_is_that_of_the_integral():
    arms = Moments(5, 1.0, 2.0), Moments(8, 2.0, 1.0)
    one, two = (t(arm.count - 1, arm.mean, np.sqrt(arm.variance / arm.count)) for arm in arms)
    exact = quad(lambda m: two.pdf(m) * one.cdf(m), -20, 20)[0]
    assert best_mean(arms, np.random.default_rng(2), draws=200_000)[1] == pytest.approx(exact, abs=0.005)


def test_nothing_seen_favours_nobody():
    assert np.allclose(best_rate([0, 0, 0], [0, 0, 0], np.random.default_rng(3)), 1 / 3, atol=0.02)
    assert best_mean([Moments(1, 5.0, 0.0), Moments(9, 1.0, 1.0)], np.random.default_rng(3)).tolist() == [0.5, 0.5]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda found: sum(found) > 0), st.integers(0, 500))
def test_weights_add_up_and_leave_each_arm_its_least(chances, least):
    found = weights(chances, least)
    assert sum(found) == 10_000 and min(found) >= least
    exact = least + (10_000 - least * len(chances)) * np.array(chances) / sum(chances)
    assert np.abs(found - exact).max() <= 1


def test_what_rounding_leaves_goes_to_those_who_lost_most_by_it():
    assert weights([0.33337, 0.33336, 0.33327]) == (3334, 3333, 3333)


@pytest.mark.parametrize("least", [-1, 5001])
def test_a_least_weight_that_cannot_be_is_refused(least):
    with pytest.raises(InvalidInput) as refused:
        weights([0.5, 0.5], least)
    assert refused.value.code == "invalid-least-weight"


def test_the_better_arm_gets_the_traffic_and_the_same_seed_gives_the_same():
    def rollout(seed):
        rng = np.random.default_rng(seed)
        rates, won, tried = np.array([0.10, 0.15]), np.zeros(2, int), np.zeros(2, int)
        share = weights([0.5, 0.5])
        for _ in range(30):
            calls = rng.multinomial(300, np.array(share) / 10_000)
            won, tried = won + rng.binomial(calls, rates), tried + calls
            share = weights(best_rate(won, tried, rng, draws=1000), least=500)
        return tried.tolist()

    tried = np.array([rollout(seed) for seed in range(10)])
    assert (tried[:, 1] > tried[:, 0]).all() and tried[:, 1].sum() > 0.75 * tried.sum()
    assert rollout(4) == rollout(4) != rollout(5)
