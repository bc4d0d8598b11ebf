"""What a verdict says, as values; `judge.py` makes them, for which it needs scipy."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["better", "not-worse", "worse", "inconclusive"]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `difference` is the new version's value less the old one's, relative where the margin is.

    `low` and `high` hold at every moment at once; None where too little was seen for any bound. `counts` are the units,
    or calls, of the old and the new version.
    """

    verdict: Verdict
    difference: float | None
    low: float | None
    high: float | None
    counts: tuple[int, int]
    margin: float
    alpha: float


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics, and what follows. `mismatch` says how the traffic was divided where it was not as planned.

    `enough` is whether each arm has the least data that a verdict needs; until then the verdict is `inconclusive`.
    """

    verdict: Verdict
    enough: bool
    metrics: dict[str, Judged] = {}
    mismatch: str = ""
    summary: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rollout: the verdict (None while nothing counts yet), and what a bandit would give it."""

    judgement: Judgement | None = None
    weight: int | None = None
