"""Which arms an endpoint has at each point of a rollout. Pure; the same state always means the same arms.

The old version keeps its place, loaded and warm, until the end: going back is a change of weights and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from penstock.core.buckets import allocate
from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint, Shadow
from penstock.rollout.plan import SHADOWING
from penstock.rollout.state import Rollout

_CANDIDATE = "candidate"
_BASELINE = "baseline"


def candidate_of(rollout: Rollout) -> str:
    """What the new version's arm, or shadow, is called meanwhile: no name that is taken."""
    return _free(_CANDIDATE, rollout)


def _free(name: str, rollout: Rollout) -> str:
    taken = {arm.name for arm in rollout.before.arms} | {shadow.name for shadow in rollout.before.shadows}
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def endpoint_of(rollout: Rollout, current: Endpoint) -> Endpoint:
    """The endpoint as the state of `rollout` wants it; buckets move as little as possible from those of `current`."""
    state, plan = rollout.state, rollout.plan
    if state.phase in ("finishing", "ended"):
        return rollout.after if state.end == "promoted" else rollout.before
    # With the settings of before: what is loaded stays as it is, so that going back loads nothing.
    during = msgspec.structs.replace(
        rollout.before, seed=rollout.seed, unit=rollout.after.unit, rules=(), recording=rollout.after.recording
    )
    if plan.strategy in SHADOWING:
        shadow = _shadow(rollout, round((plan.share or 100) * 100))
        return _with_rules(msgspec.structs.replace(during, shadows=(*during.shadows, shadow)), rollout)
    arms = _arms(rollout)
    ranges = allocate({arm.name: ranges_of(current, arm.name) for arm in current.arms}, _weights(arms))
    arms = tuple(msgspec.structs.replace(arm, buckets=ranges[arm.name]) for arm in arms)
    return _with_rules(msgspec.structs.replace(during, arms=arms), rollout)


def compared(rollout: Rollout) -> tuple[tuple[str, ...], str]:
    """The names of the arms that are compared: the old version's, and the new one's."""
    plan = rollout.plan
    if plan.fresh_baseline:
        return (_free(_BASELINE, rollout),), candidate_of(rollout)
    return tuple(arm.name for arm in rollout.before.arms), candidate_of(rollout)


def share_of(rollout: Rollout, weight: int) -> float:
    """The new version's share of the traffic of those that are compared, when it has `weight` of all traffic."""
    if rollout.plan.strategy in SHADOWING or rollout.plan.strategy == "blue-green":
        return 0.5
    rest = _baseline(weight) if rollout.plan.fresh_baseline else TOTAL_WEIGHT - weight
    return weight / (weight + rest) if weight else 0.0


def _arms(rollout: Rollout) -> tuple[Arm, ...]:
    weight = rollout.state.weight
    fresh = _baseline(weight) if rollout.plan.fresh_baseline else 0
    replace = msgspec.structs.replace
    before = rollout.before.arms
    olds = [
        replace(arm, weight=share, buckets=())
        for arm, share in zip(
            before, _scaled([arm.weight for arm in before], TOTAL_WEIGHT - weight - fresh), strict=True
        )
    ]
    copy = max(before, key=lambda arm: arm.weight)
    again = replace(copy, name=_free(_BASELINE, rollout), weight=fresh, buckets=())
    baseline = [again] if rollout.plan.fresh_baseline else []
    return (*olds, *baseline, replace(rollout.after.arms[0], name=candidate_of(rollout), weight=weight, buckets=()))


def _baseline(weight: int) -> int:
    """As much as the new version has, or what is left."""
    return min(weight, TOTAL_WEIGHT - weight)


def _scaled(weights: Sequence[int], total: int) -> list[int]:
    """Weights in the same proportions that sum to `total`; the largest takes what rounding leaves."""
    scaled = [weight * total // TOTAL_WEIGHT for weight in weights]
    scaled[weights.index(max(weights))] += total - sum(scaled)
    return scaled


def _weights(arms: Sequence[Arm]) -> dict[str, int]:
    return {arm.name: arm.weight for arm in arms}


def _shadow(rollout: Rollout, sample: int) -> Shadow:
    arm = rollout.after.arms[0]
    return Shadow(name=candidate_of(rollout), version=arm.version, bundle=arm.bundle, uri=arm.uri, sample=sample)


def _with_rules(endpoint: Endpoint, rollout: Rollout) -> Endpoint:
    """The target's rules, and those of before that it does not have, as far as their arm is there now."""
    names = {arm.name for arm in endpoint.arms}
    own = {rule.name for rule in rollout.after.rules}
    both = (*rollout.after.rules, *(rule for rule in rollout.before.rules if rule.name not in own))
    rules = tuple(rule for rule in both if rule.arm in names)
    return msgspec.structs.replace(endpoint, rules=rules)


def ranges_of(endpoint: Endpoint, name: str) -> tuple[tuple[int, int], ...]:
    """The buckets of an arm, said or following from the weights."""
    at = 0
    for arm in endpoint.arms:
        if arm.name == name:
            return arm.buckets or (((at, at + arm.weight),) if arm.weight else ())
        at += arm.weight
    return ()
