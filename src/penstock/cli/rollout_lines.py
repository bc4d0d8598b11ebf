"""Rollouts and releases as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.control.records import Release, RolloutEvent, RolloutRecord
    from penstock.rollout.judgement import Judgement


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


def release_lines(releases: Iterable[Release]) -> Iterator[str]:
    """Releases, one a line."""
    for one in releases:
        arms = one.content.arms if one.content is not None else ()
        what = ", ".join(f"{arm.version} {arm.weight / 100:g}%" for arm in arms) or "removed"
        yield f"{one.generation:>8}  {what:<40} {one.created_at} by {one.created_by}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.4g}"
