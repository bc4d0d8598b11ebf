"""The next step of a rollout: a pure function of its plan, its state and the facts. Read `decide`, then one strategy.

Forward needs reasons, back needs one: nothing is promoted or rolled back for lack of data, a version that is proven
worse goes back whatever else holds, and what cannot be decided asks somebody.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.core.buckets import Ranges
from penstock.rollout.arms import share_of
from penstock.rollout.judgement import Judgement
from penstock.rollout.plan import SHADOWING
from penstock.rollout.state import End, Rollout, RolloutState, Stratum

Serving = Literal["converging", "ready", "refused"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now. `serving` is whether every node serves the generation of the state, and `problems` why not.

    `judgement` is None while nothing counts yet; `frozen` names the freeze window that is on; `weight` is what a bandit
    would give the new version; `buckets` are those that the old and the new version have.
    """

    now: float
    serving: Serving
    problems: str = ""
    judgement: Judgement | None = None
    frozen: str = ""
    weight: int | None = None
    buckets: tuple[Ranges, Ranges] = ((), ())


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What follows: the state to be in, and why, in words. The same state and no reason: wait."""

    state: RolloutState
    because: str = ""


_LEAST_SHIFT = 100
_SHIFT_PART = 0.05
Command = Literal["pause", "resume", "promote", "abort"]


def begin(now: float, generation: int = 0) -> RolloutState:
    """The first state: the new version is loaded beside the old one and gets no traffic."""
    return RolloutState(phase="loading", since=now, generation=generation)


def decide(rollout: Rollout, facts: Facts) -> Decision:
    """What to do now. Pure; deciding twice from the same state and facts is deciding once."""
    state = rollout.state
    if state.ended:
        return Decision(state=state)
    if state.phase == "finishing":
        return _finished(rollout, facts)
    if facts.serving == "refused":
        return _refused(rollout, facts)
    judged = facts.judgement
    if judged is not None and judged.mismatch:
        # First: of traffic that was divided otherwise than planned no metric can be believed.
        return _finish(state, "aborted", facts.now, judged.mismatch)
    if judged is not None and judged.verdict == "worse":
        return _worse(rollout, facts, judged)
    if facts.serving == "ready" and state.counted is None and state.phase != "loading":
        # Also while it is held: what is not counted could not be seen to be worse.
        return _count(rollout, facts)
    if state.hold:
        return Decision(state=state)
    if facts.serving == "converging":
        return _late(rollout, facts, "not every node serves it yet")
    if state.phase == "loading":
        return _loaded(rollout, facts)
    if rollout.plan.strategy == "champion-challenger":
        return _period(rollout, facts)
    if facts.weight is not None and _may_shift(rollout, facts):
        return _shift(rollout, facts, facts.weight)
    return _forward(rollout, facts)


def obey(rollout: Rollout, command: Command, who: str, now: float) -> Decision | None:
    """What a person's command leads to; None where it makes no sense in this state."""
    state = rollout.state
    if state.phase in ("finishing", "ended"):
        return None
    if command == "pause":
        return (
            None
            if state.hold == "paused"
            else Decision(state=_replace(state, hold="paused"), because=f"paused by {who}")
        )
    if command == "resume":
        # From now on: what was waited for too long may take as long again.
        return Decision(state=_replace(state, hold="", since=now), because=f"resumed by {who}") if state.hold else None
    if command == "promote":
        return _finish(state, "promoted", now, f"promoted by {who}")
    return _finish(state, "aborted", now, f"aborted by {who}")


# ---- what may happen in any phase


def _finished(rollout: Rollout, facts: Facts) -> Decision:
    state = rollout.state
    if facts.serving == "converging":
        return Decision(state=state)
    but = f"; but {facts.problems}" if facts.serving == "refused" else ""
    after = _replace(state, phase="ended", since=facts.now, reason=state.reason + but)
    return Decision(state=after, because=f"ended: {but.removeprefix('; but ') or 'every node serves it'}")


def _refused(rollout: Rollout, facts: Facts) -> Decision:
    return _finish(rollout.state, "failed", facts.now, f"it cannot be served: {facts.problems}")


def _worse(rollout: Rollout, facts: Facts, judged: Judgement) -> Decision:
    state = rollout.state
    if rollout.plan.strategy == "champion-challenger":
        return _period(rollout, facts)
    if rollout.plan.on_worse == "pause":
        return Decision(state=state) if state.hold else _ask(state, f"worse: {judged.summary}")
    return _finish(state, "rolled-back", facts.now, f"worse: {judged.summary}")


def _late(rollout: Rollout, facts: Facts, what: str) -> Decision:
    state, plan = rollout.state, rollout.plan
    if plan.strategy != "champion-challenger" and facts.now - state.since >= plan.timeout_s:
        return _ask(state, f"inconclusive after {plan.timeout_s:g} s: {what}")
    return Decision(state=state)


# ---- one after the other


def _loaded(rollout: Rollout, facts: Facts) -> Decision:
    state, plan, now = rollout.state, rollout.plan, facts.now
    if facts.frozen:
        return Decision(state=state)
    if plan.strategy == "all-at-once":
        return _finish(state, "promoted", now, "loaded everywhere")
    if plan.strategy == "blue-green":
        after = _replace(state, phase="baking", since=now, weight=10_000)
        return Decision(state=after, because=f"all traffic to the new version; the old one stays for {plan.bake_s:g} s")
    if plan.strategy in SHADOWING:
        share = f"{plan.share or 100:g} %"
        return Decision(
            state=_replace(state, phase="step", since=now), because=f"loaded; gets a copy of {share} of calls"
        )
    return _step(state, 0, plan.weights[0], now)


def _step(state: RolloutState, step: int, weight: int, now: float) -> Decision:
    after = _replace(state, phase="step", step=step, weight=weight, since=now, counted=None, strata=_closed(state, now))
    return Decision(state=after, because=f"step {step + 1}: {weight / 100:g} % of the traffic")


def _count(rollout: Rollout, facts: Facts) -> Decision:
    """Every node serves the step: only what comes from now on was divided as planned."""
    state, now = rollout.state, facts.now
    stratum = Stratum(since=now, share=share_of(rollout, state.weight), buckets=facts.buckets)
    return Decision(
        state=_replace(state, counted=now, strata=(*state.strata, stratum)), because="served everywhere; counting"
    )


def _forward(rollout: Rollout, facts: Facts) -> Decision:
    state, plan, judged = rollout.state, rollout.plan, facts.judgement
    if judged is None or not judged.enough:
        return _late(rollout, facts, "not enough data")
    if state.counted is None or facts.now - state.counted < plan.step_s or facts.frozen:
        return Decision(state=state)
    if plan.strategy == "blue-green":
        return _finish(state, "promoted", facts.now, f"baked for {plan.bake_s:g} s: {judged.summary}")
    if plan.strategy == "canary" and state.step + 1 < len(plan.weights):
        return _step(state, state.step + 1, plan.weights[state.step + 1], facts.now)
    wanted = ("better",) if plan.strategy == "ab" or plan.require == "better" else ("better", "not-worse")
    if judged.verdict not in wanted:
        return _late(rollout, facts, judged.summary)
    if plan.promote:
        return _finish(state, "promoted", facts.now, f"{judged.verdict}: {judged.summary}")
    return _ask(state, f"{judged.verdict}: {judged.summary}")


def _period(rollout: Rollout, facts: Facts) -> Decision:
    """A challenger that stays: one verdict for each period, each from that period's calls alone."""
    state, plan, judged, now = rollout.state, rollout.plan, facts.judgement, facts.now
    if state.counted is None or judged is None or now - state.counted < plan.period_s:
        return Decision(state=state)
    verdict = judged.verdict if judged.enough else "inconclusive"
    after = _replace(state, since=now, step=state.step + 1, counted=now, strata=(Stratum(since=now, share=0.5),))
    return Decision(state=after, because=f"period {state.step + 1}: {verdict}: {judged.summary}")


def _may_shift(rollout: Rollout, facts: Facts) -> bool:
    """Each share lasts a while, the longer the longer it goes on: every shift is one more stratum for good."""
    state = rollout.state
    if state.counted is None or (facts.frozen and (facts.weight or 0) > state.weight):
        return False
    least_s = max(rollout.plan.step_s, _SHIFT_PART * (facts.now - state.strata[0].since))
    return facts.now - state.counted >= least_s


def _shift(rollout: Rollout, facts: Facts, weight: int) -> Decision:
    """Other shares: what is measured with them is compared among itself. It counts once every node has them."""
    state = rollout.state
    if abs(weight - state.weight) < _LEAST_SHIFT:
        return _forward(rollout, facts)
    after = _replace(state, weight=weight, counted=None, strata=_closed(state, facts.now))
    return Decision(state=after, because=f"the bandit gives it {weight / 100:g} % of the traffic")


# ---- states


def _finish(state: RolloutState, end: End, now: float, reason: str) -> Decision:
    after = _replace(
        state, phase="finishing", end=end, reason=reason, hold="", since=now, counted=None, strata=_closed(state, now)
    )
    return Decision(state=after, because=f"{end}: {reason}")


def _ask(state: RolloutState, reason: str) -> Decision:
    return Decision(state=_replace(state, hold="waiting", reason=reason), because=f"waits for somebody: {reason}")


def _closed(state: RolloutState, now: float) -> tuple[Stratum, ...]:
    if not state.strata or state.strata[-1].until is not None:
        return state.strata
    return (*state.strata[:-1], msgspec.structs.replace(state.strata[-1], until=now))


def _replace(state: RolloutState, **changes: object) -> RolloutState:
    return msgspec.structs.replace(state, **changes)
