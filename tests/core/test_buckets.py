"""Buckets: everybody belongs to one arm, and while a share only grows nobody leaves it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.buckets import TOTAL_BUCKETS, Ranges, allocate, bucket_of

NAMES = ("a", "b", "c", "d")


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    """Weights of one to four arms that sum to all buckets; some may be 0."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, TOTAL_BUCKETS), min_size=len(names) - 1, max_size=len(names) - 1)))
    ends = [0, *cuts, TOTAL_BUCKETS]
    return {name: high - low for name, low, high in zip(names, ends, ends[1:], strict=False)}


def owners(ranges: dict[str, Ranges]) -> np.ndarray[Any, Any]:
    """Who owns each bucket, by the place in NAMES; fails where two do, or nobody."""
    found = np.full(TOTAL_BUCKETS, -1)
    for name, pairs in ranges.items():
        for low, high in pairs:
            assert (found[low:high] == -1).all()
            found[low:high] = NAMES.index(name)
    assert (found >= 0).all()
    return found


@given(st.lists(weights(), min_size=1, max_size=5))
def test_every_bucket_has_one_owner_and_as_few_as_possible_move(steps: list[dict[str, int]]) -> None:
    """Whatever the steps are, the shares are exact and nobody moves who need not."""
    ranges = allocate({}, steps[0])
    assert {name: sum(high - low for low, high in pairs) for name, pairs in ranges.items()} == steps[0]
    for before, after in itertools.pairwise(steps):
        old = owners(ranges)
        ranges = allocate(ranges, after)
        new = owners(ranges)
        assert {name: int((new == NAMES.index(name)).sum()) for name in after} == after
        must_move = sum(max(0, before[name] - after.get(name, 0)) for name in before)
        assert (old != new).sum() == must_move


@given(st.lists(st.integers(1, TOTAL_BUCKETS), min_size=2, max_size=6, unique=True), st.integers(1, 3))
def test_while_a_share_only_grows_nobody_flips_back(shares: list[int], olds: int) -> None:
    """However many arms the rest is divided over."""
    ranges: dict[str, Ranges] = {}
    inside: set[int] = set()
    for share in sorted(shares):
        rest, names = TOTAL_BUCKETS - share, [f"old-{number}" for number in range(olds)]
        weights = dict.fromkeys(names, rest // olds)
        weights[names[0]] += rest - sum(weights.values())
        ranges = allocate(ranges, {**weights, "new": share})
        now = {bucket for low, high in ranges["new"] for bucket in range(low, high)}
        assert inside <= now
        inside = now


def test_shares_of_units_are_within_binomial_error() -> None:
    """Five standard deviations: chance alone would break it once in two million runs, and the seed is fixed."""
    buckets = np.array([bucket_of("churn", f"user-{number}")[1] for number in range(100_000)])
    for share in (100, 500, 2_500, 5_000):
        expected = len(buckets) * share / TOTAL_BUCKETS
        assert abs((buckets >= TOTAL_BUCKETS - share).sum() - expected) < 5 * np.sqrt(expected)


def test_experiments_are_independent() -> None:
    """Whoever is in one is no likelier to be in another: chi-square of the two-by-two table, 1 degree of freedom."""
    units = [f"user-{number}" for number in range(50_000)]
    one, two = (np.array([bucket_of(seed, unit)[1] < 5_000 for unit in units]) for seed in ("one", "two"))
    table = np.array([[(one & two).sum(), (one & ~two).sum()], [(~one & two).sum(), (~one & ~two).sum()]], float)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 15
