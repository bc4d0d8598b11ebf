"""Who belongs to which arm, for as long as shares only grow: 10 000 buckets, and a unit's bucket by a keyed hash. Pure.

The bucket follows from the unit and the seed alone, so every node decides alike and nothing is remembered; another seed
divides the same units independently.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

TOTAL_BUCKETS = 10_000
MOST_SEED_BYTES = 64
Ranges = tuple[tuple[int, int], ...]
"""Half-open ranges of buckets, in ascending order."""


def bucket_of(seed: str, unit: str) -> tuple[int, int]:
    """The digest of a unit (64 bits, never 0) and its bucket, 0 to 9 999.

    BLAKE2b (RFC 7693) with 8 bytes, keyed by the seed (by its BLAKE2b-512 where it has more than 64 bytes, which no key
    may have), big-endian. 2^64 is no multiple of 10 000: the first 1 616
    buckets are likelier by a part in 10^15.

    Example:
        >>> bucket_of("churn", "customer-17") == bucket_of("churn", "customer-17")
        True
        >>> bucket_of("churn", "customer-17")[1] == bucket_of("price", "customer-17")[1]
        False
    """
    key = seed.encode()
    if len(key) > MOST_SEED_BYTES:
        key = blake2b(key).digest()
    digest = int.from_bytes(blake2b(unit.encode(), digest_size=8, key=key).digest(), "big") or 1
    return digest, digest % TOTAL_BUCKETS


def allocate(before: Mapping[str, Ranges], weights: Mapping[str, int]) -> dict[str, Ranges]:
    """Ranges of `weights` buckets for each arm, moving as few buckets as possible from where they were.

    An arm that grows keeps all it had, one that shrinks gives from its end: while a share only grows, nobody leaves it.
    `weights` sum to 10 000; arms that are gone give all they had.

    Example:
        >>> one = allocate({}, {"old": 9_900, "new": 100})
        >>> one
        {'old': ((0, 9900),), 'new': ((9900, 10000),)}
        >>> allocate(one, {"old": 9_500, "new": 500})
        {'old': ((0, 9500),), 'new': ((9500, 10000),)}
    """
    kept: dict[str, Ranges] = {}
    taken = [False] * TOTAL_BUCKETS
    for name, weight in weights.items():
        kept[name] = _first(before.get(name, ()), weight)
        for low, high in kept[name]:
            taken[low:high] = [True] * (high - low)
    free = _ranges(taken)
    # Backwards, so that free buckets are handed out in the arms' order where nothing was before.
    result: dict[str, Ranges] = {}
    for name, weight in reversed(list(weights.items())):
        given, free = _last(free, weight - sum(high - low for low, high in kept[name]))
        result[name] = _merged((*kept[name], *given))
    return {name: result[name] for name in weights}


def _first(ranges: Ranges, count: int) -> Ranges:
    """The first `count` buckets of `ranges`."""
    found: list[tuple[int, int]] = []
    for low, high in ranges:
        if count <= 0:
            break
        found.append((low, min(high, low + count)))
        count -= high - low
    return tuple(found)


def _last(ranges: Ranges, count: int) -> tuple[Ranges, Ranges]:
    """The last `count` buckets of `ranges`, and the others."""
    rest = sum(high - low for low, high in ranges) - count
    others = _first(ranges, rest)
    given: list[tuple[int, int]] = []
    for low, high in ranges:
        size = high - low
        if rest < size:
            given.append((low + max(rest, 0), high))
        rest -= size
    return tuple(given), others


def _ranges(taken: list[bool]) -> Ranges:
    """The ranges of what is not taken."""
    found: list[tuple[int, int]] = []
    start = None
    for bucket, is_taken in enumerate([*taken, True]):
        if is_taken and start is not None:
            found.append((start, bucket))
            start = None
        elif not is_taken and start is None:
            start = bucket
    return tuple(found)


def _merged(ranges: Ranges) -> Ranges:
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if low == high:
            continue
        if found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return tuple(found)
