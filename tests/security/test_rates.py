"""The token bucket against a slow and obvious one; clocks that jump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.security.rates import Rate, rate_of, take

rates = st.builds(Rate, st.sampled_from([0.5, 1.0, 4.0, 64.0]), st.sampled_from([1.0, 2.0, 8.0]))


@given(rate=rates, steps=st.lists(st.sampled_from([0.0, 0.125, 0.25, 1.0, 3.0, 20.0]), max_size=60))
def test_it_is_the_token_bucket_of_the_textbook(rate, steps):
    full_at, tokens, now = 0.0, rate.burst, 1000.0
    for step in steps:
        now += step
        tokens = min(rate.burst, tokens + step * rate.per_s)
        full_at, wait_s = take(full_at, rate, now)
        assert (wait_s == 0.0) == (tokens >= 1)
        if tokens >= 1:
            tokens -= 1
        else:
            assert wait_s == pytest.approx((1 - tokens) / rate.per_s)


@given(rate=rates, moments=st.lists(st.floats(0, 1e9), min_size=1, max_size=60))
def test_whatever_the_clock_does_a_bucket_heals_within_its_burst(rate, moments):
    full_at = 0.0
    for now in moments:
        full_at, wait_s = take(full_at, rate, now)
        # A token comes after the time of one token, even when the clock has gone back by years.
        assert 0 <= wait_s <= 1 / rate.per_s + 1e-6
        assert full_at <= now + rate.burst / rate.per_s + 1 / rate.per_s + 1e-6


def test_after_the_wait_there_is_a_token():
    rate, full_at, now = rate_of(3.0), 0.0, 50.0
    for _ in range(100):
        full_at, wait_s = take(full_at, rate, now)
        if wait_s:
            now += wait_s
            full_at, wait_s = take(full_at, rate, now)
            assert wait_s == 0.0
    # 3 at once and then 3 a second.
    assert now == pytest.approx(50 + 97 / 3)


def test_a_slow_rate_still_allows_one_call():
    rate = rate_of(0.01)
    full_at, wait_s = take(0.0, rate, 5.0)
    assert wait_s == 0.0
    assert take(full_at, rate, 6.0)[1] == pytest.approx(99.0)
