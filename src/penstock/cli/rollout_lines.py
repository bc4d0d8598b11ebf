"""Rollouts and releases as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.control.records import Release, RolloutEvent, RolloutRecord
    from penstock.rollout.judgement import ArmFacts, Disagreement, Judgement


def rollout_line(record: RolloutRecord) -> str:
    """One rollout: from what to what, and how far."""
    rollout, state = record.rollout, record.rollout.state
    olds = ", ".join(arm.version for arm in rollout.before.arms)
    news = ", ".join(arm.version for arm in rollout.after.arms)
    how = state.end or (f"{state.phase} {state.hold}".strip())
    share = f", {state.weight / 100:g} % of the traffic" if not state.end and state.weight else ""
    reason = f": {state.reason}" if state.reason else ""
    return (
        f"rollout {record.id} ({rollout.plan.strategy}) of {rollout.endpoint}: {olds} -> {news}, {how}{share}{reason}"
    )


def rollout_lines(record: RolloutRecord, events: Iterable[RolloutEvent]) -> Iterator[str]:
    """A rollout with what was measured, and every decision."""
    yield from map(event_line, events)
    if record.judgement is not None:
        yield from judgement_lines(record.judgement)
    yield rollout_line(record)


def event_line(event: RolloutEvent) -> str:
    """One decision."""
    return f"{event.at}  {event.who:<10} {event.text}"


def judgement_lines(judgement: Judgement) -> Iterator[str]:
    """What is known of each metric: the difference, where it surely is, and of how many."""
    for name, one in judgement.metrics.items():
        bounds = f"surely {_number(one.low)} to {_number(one.high)}"
        counts = " and ".join(map(str, one.counts))
        yield f"  {name:<18} {one.verdict:<13} {_number(one.difference):>10}  {bounds:<34} of {counts}"
    yield f"  all together: {judgement.verdict}{'' if judgement.enough else ', not enough data'}"


def arm_lines(arms: Iterable[ArmFacts]) -> Iterator[str]:
    """What was seen of each arm in each step."""
    for one in arms:
        latency = " / ".join(map(_ms, (one.latency_p50_ms, one.latency_p95_ms, one.latency_p99_ms)))
        yield (
            f"  step {one.step:<3} {one.version:<16} {one.calls:>9} calls {one.units:>8} units"
            f"  {one.errors:>7.2%} failed {one.saturation:>7.2%} saturated  p50/95/99 {latency} ms"
        )


def disagreement_lines(found: Disagreement | None) -> Iterator[str]:
    """How often a shadow answers otherwise, on which inputs, and the largest differences."""
    if found is None:
        return
    shift = "" if found.shift is None else f", by {found.shift:+.4g} on average"
    yield f"  {found.rate:.2%} of {found.rows} rows are answered otherwise{shift}"
    for one in found.slices:
        yield f"    where {one.field} is {one.value}: {one.disagreement:.2%} of {one.calls}"
    for flip in found.flips:
        yield f"    {flip.request_id} row {flip.row}: {flip.champion} -> {flip.challenger}"


def release_lines(releases: Iterable[Release]) -> Iterator[str]:
    """Releases, one a line."""
    for one in releases:
        arms = one.content.arms if one.content is not None else ()
        what = ", ".join(f"{arm.version} {arm.weight / 100:g}%" for arm in arms) or "removed"
        yield f"{one.generation:>8}  {what:<40} {one.created_at} by {one.created_by}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.4g}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
