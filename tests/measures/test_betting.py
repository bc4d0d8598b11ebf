"""Betting on means and on pairs: exact at every sample size, however often one looks. Seeds are fixed."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.measures import betting, paired_betting

RUNS = 200
# Were the chance exactly 5 %, more than this of 200 runs would be wrong once in 1 500 times.
MOST = 21


@pytest.mark.parametrize(("rate", "share"), [(0.07, 0.5), (0.002, 0.5), (0.5, 0.1), (0.07, 0.9)])
def test_betting_on_pairs_of_equals(rate, share):
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(RUNS):
        baseline, challenger = rng.random(4000) < rate, rng.random(4000) < rate
        wrong += any(
            not found.low <= 0 <= found.high
            for found in (
                paired_betting.interval(paired_betting.pairs(baseline[:n], challenger[:n], share), 0.05)
                for n in range(250, 4001, 250)
            )
        )
    assert wrong <= MOST


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=80), st.floats(0.001, 0.2))
def test_an_interval_is_the_set_that_betting_does_not_refuse(z, alpha):
    found = paired_betting.interval(z, alpha)
    wanted = np.log(2 / alpha)
    for mean in np.linspace(-0.99, 0.99, 23):
        refused = max(paired_betting.log_wealth(z, mean, above=above) for above in (True, False)) >= wanted
        if found.low + 1e-6 < mean < found.high - 1e-6:
            assert not refused, mean
        elif not found.low - 1e-6 <= mean <= found.high + 1e-6:
            assert refused, mean


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.lists(st.booleans(), max_size=60), st.floats(0.01, 0.99))
def test_pairs_are_turned_around_with_the_arms(baseline, challenger, share):
    one = paired_betting.pairs(baseline, challenger, share)
    other = paired_betting.pairs(challenger, baseline, 1 - share)
    if not 0.49 < share < 0.51:
        assert np.allclose(one, -other)
    assert (np.abs(one) <= 1).all()


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.95), (10.0, 30.0), (0.5, 0.5)])
def test_betting_on_a_mean_is_wrong_as_seldom_as_it_says_and_finds_what_is_there(a, b):
    rng, truth, runs = np.random.default_rng(10), a / (a + b), 500
    wrong, low, high = 0, 0, 0
    for _ in range(runs):
        values = rng.beta(a, b, 400)
        pieces = [betting.interval(values[:n], 0.05) for n in (15, 60, 400)]
        wrong += any(not piece.low <= truth <= piece.high for piece in pieces)
        # Either side alone, too: what was bet against a mean that is true never made much.
        wealth = {above: betting.log_wealth(values, truth, above=above) for above in (True, False)}
        low += wealth[True] >= np.log(20)
        high += wealth[False] >= np.log(20)
        assert pieces[-1].low > truth - 0.15 and pieces[-1].high < truth + 0.15
    assert wrong <= 38 and low <= 38 and high <= 38


def test_what_a_bet_makes_is_at_most_one_on_average():
    # Exactly, over all ways in which four calls of 30 % can end: the promise of every sample size is this one.
    for above in (True, False):
        made = sum(
            0.3**ones
            * 0.7 ** (4 - ones)
            * np.exp(betting.log_wealth(np.repeat([1.0, 0.0], [ones, 4 - ones]), 0.3, above=above))
            * ways
            for ones, ways in enumerate((1, 4, 6, 4, 1))
        )
        assert made == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_betting_is_turned_around_with_its_values(values):
    one, other = betting.interval(values, 0.05), betting.interval(1 - np.array(values), 0.05)
    assert (one.low, one.high) == (pytest.approx(1 - other.high, abs=1e-7), pytest.approx(1 - other.low, abs=1e-7))
    assert 0 <= one.low <= one.estimate + 1e-12 and one.estimate - 1e-12 <= one.high <= 1


def test_what_is_beyond_the_bounds_counts_as_the_bound():
    assert betting.interval([-3.0, 0.5, 7.0], 0.05) == betting.interval([0.0, 0.5, 1.0], 0.05)


def test_a_share_of_a_tenth_is_paired_with_nine():
    # 0.9 // 0.1 is 8.
    assert paired_betting.pairs(np.arange(18), [0.0, 0.0], 0.1).tolist() == [-4.0, -13.0]


def test_betting_without_replacement_knows_what_it_has_seen():
    rng = np.random.default_rng(2)
    population = rng.random(200)
    wrong = 0
    for _ in range(60):
        drawn = rng.permutation(population)
        found = [betting.without_replacement(drawn[:n], 200, 0.05) for n in (20, 80, 140, 199)]
        wrong += any(not one.low <= population.mean() <= one.high for one in found)
        assert found[-1].high - found[-1].low < 0.02
    assert wrong <= 9
    for n in (1, 30, 99):
        assert betting.without_replacement(np.ones(n), 100, 0.05).low >= n / 100 - 1e-9


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_without_replacement_over_all_orders_of_a_population(alpha):
    # Exact: each of the 252 orders of five ones and five zeros is as likely.
    wrong = []
    for ones in combinations(range(10), 5):
        values = np.zeros(10)
        values[list(ones)] = 1
        found = betting.without_replacement(values[:8], 10, alpha)
        wrong.append(not found.low <= 0.5 <= found.high)
    assert len(wrong) == 252 and np.mean(wrong) <= alpha


def test_without_replacement_the_edge_is_where_betting_made_just_enough():
    values = np.random.default_rng(17).random(60) ** 2
    low = betting.without_replacement(values, 100, 0.05).low
    fortunes, most = np.ones(len(betting.STAKES)), 1.0
    for drawn, value in enumerate(values):
        rest = (100 * low - values[:drawn].sum()) / (100 - drawn)
        fortunes *= (1 + betting.STAKES * value) / (1 + betting.STAKES * rest)
        most = max(most, fortunes.mean())
    assert most == pytest.approx(2 / 0.05, rel=1e-4)
