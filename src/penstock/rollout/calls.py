"""The calls of a rollout as one table, `calls`, in the engine that holds the log's views.

One row for each row of each call that counts: `stratum`, `new` (whether the new version answered), the columns of the
view `joined`, and for the answers of a shadow `other`, which is what the champion answered to the same row.
"""

from __future__ import annotations

from penstock.core.buckets import TOTAL_BUCKETS
from penstock.predlog.table_engine import literal
from penstock.predlog.table_views import Views
from penstock.rollout.arms import candidate_of, compared
from penstock.rollout.plan import SHADOWING
from penstock.rollout.state import Rollout, Stratum


def make_calls(views: Views, rollout: Rollout) -> None:
    """Create the table; the engine's errors are the caller's."""
    if rollout.plan.strategy in SHADOWING:
        select = _copied(rollout)
    elif rollout.plan.strategy == "blue-green":
        select = _before_and_after(rollout)
    else:
        select = _divided(rollout)
    views.engine.execute(f"CREATE TABLE calls AS {select}")


def _divided(rollout: Rollout) -> str:
    olds, new = compared(rollout)
    names = ", ".join(map(literal, (*olds, new)))
    return f"""
        SELECT *, arm = {literal(new)} AS new FROM (
            SELECT *, {_stratum(rollout.state.strata)} AS stratum FROM joined
            WHERE reason IN ('weight', 'unit') AND arm IN ({names})
        ) WHERE stratum IS NOT NULL AND NOT ({_used(rollout.state.strata)})"""  # noqa: S608 - literals are quoted


def _before_and_after(rollout: Rollout) -> str:
    """All traffic changed at one moment: as much of the time before it as it is baked at the most is compared with."""
    olds, new = compared(rollout)
    (stratum,) = rollout.state.strata
    flipped = stratum.since
    before = f"time >= {_moment(flipped - rollout.plan.bake_s)} AND time < {_moment(flipped)}"
    named = ", ".join(map(literal, olds))
    # An arm's name outlives its versions.
    versions = ", ".join(literal(arm.version) for arm in rollout.before.arms)
    return f"""
        SELECT *, arm = {literal(new)} AS new, 0 AS stratum FROM joined
        WHERE reason IN ('weight', 'unit', 'only-arm') AND CASE
            WHEN arm = {literal(new)} THEN {_within(stratum)}
            WHEN arm IN ({named}) AND version IN ({versions}) THEN {before} END"""  # noqa: S608 - literals are quoted


def _copied(rollout: Rollout) -> str:
    """Calls of which the shadow got a copy: what it answered, and what the caller was answered."""
    names = ", ".join(literal(arm.name) for arm in rollout.before.arms)
    copies = f"SELECT * FROM joined WHERE reason = 'shadow' AND arm = {literal(candidate_of(rollout))}"  # noqa: S608
    answered = f"SELECT * FROM joined WHERE reason <> 'shadow' AND arm IN ({names})"  # noqa: S608
    return f"""
        WITH copies AS ({copies}), answered AS ({answered}), both_sides AS (
            SELECT answered.*, false AS new, NULL AS other, answered.time AS asked_at
            FROM answered SEMI JOIN copies USING (request_id)
            UNION ALL BY NAME
            SELECT copies.* REPLACE (coalesce(copies.unit, answered.unit) AS unit), true AS new, answered AS other,
                   answered.time AS asked_at
            FROM copies JOIN answered USING (request_id, row)
        )
        SELECT * EXCLUDE (asked_at), {_stratum(rollout.state.strata, "asked_at")} AS stratum FROM both_sides
        WHERE {_stratum(rollout.state.strata, "asked_at")} IS NOT NULL"""  # noqa: S608 - literals are quoted


def _stratum(strata: tuple[Stratum, ...], time: str = "time") -> str:
    cases = " ".join(f"WHEN {_within(stratum, time)} THEN {number}" for number, stratum in enumerate(strata))
    return f"CASE {cases} END"


def _within(stratum: Stratum, time: str = "time") -> str:
    until = "" if stratum.until is None else f" AND {time} < {_moment(stratum.until)}"
    return f"({time} >= {_moment(stratum.since)}{until})"


def _used(strata: tuple[Stratum, ...]) -> str:
    """Whether a unit had the new version in an earlier stratum already, by its bucket."""
    conditions = ["false"]
    for number, stratum in enumerate(strata):
        conditions += [
            f"(stratum > {number} AND unit % {TOTAL_BUCKETS} >= {low} AND unit % {TOTAL_BUCKETS} < {high})"
            for low, high in stratum.buckets[1]
        ]
    # A call without a unit has no bucket: unknown is not used.
    return f"unit IS NOT NULL AND ({' OR '.join(conditions)})"


def _moment(seconds: float) -> str:
    return f"make_timestamp({round(seconds * 1e6)})"
