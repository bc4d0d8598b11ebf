"""What verdicts and reports say, as values; `judge.py` and `report.py` make them, for which they need scipy."""

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


class ArmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One arm in one step. Shares are of its calls; `units` are those that were seen, latencies in milliseconds."""

    step: int
    version: str
    calls: int
    units: int
    errors: float
    saturation: float
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a metric at a time."""

    at: str
    judged: Judged


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """How often the answers to calls with this value of an input differ."""

    field: str
    value: str
    calls: int
    disagreement: float


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """One row that both answered, and not alike."""

    request_id: str
    row: int
    champion: str
    challenger: str


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a shadow answers otherwise than the champion.

    `shift` is the mean of its number less the champion's, None where the output is no number; `flips` are the largest.
    """

    rows: int
    rate: float
    shift: float | None
    flips: tuple[Flip, ...]
    slices: tuple[Slice, ...]


class RolloutReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as its log shows it now."""

    judgement: Judgement
    arms: tuple[ArmFacts, ...]
    series: dict[str, tuple[Point, ...]]
    disagreement: Disagreement | None = None
