"""How far a rollout is: a value that is replaced as a whole, so that a kill leaves the old one or the new one."""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.core.buckets import Ranges
from penstock.core.routes import Endpoint
from penstock.rollout.plan import RolloutPlan

Phase = Literal["loading", "step", "baking", "finishing", "ended"]
Hold = Literal["", "paused", "waiting"]
End = Literal["", "promoted", "rolled-back", "aborted", "failed"]


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time in which the shares were the same: what is measured in it may be compared.

    Times are seconds since 1970; `until` None is now. `share` is the new version's part of the two that are compared,
    `buckets` those that the old and the new one have.
    """

    since: float
    share: float
    until: float | None = None
    buckets: tuple[Ranges, Ranges] = ((), ())


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is.

    `since` is when this phase or step began, `counted` when every node served it and data began to count (None: not
    yet). `hold` stops it from going forward, never from going back: `paused` by somebody, `waiting` for somebody.
    `weight` is the new version's share of the traffic in ten-thousandths, `generation` the one that said so.
    """

    phase: Phase
    since: float
    step: int = 0
    counted: float | None = None
    strata: tuple[Stratum, ...] = ()
    weight: int = 0
    hold: Hold = ""
    end: End = ""
    reason: str = ""
    generation: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more happens."""
        return self.phase == "ended"


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout: from `before` to `after`, which has one arm. `seed` divides its traffic unlike any other's."""

    endpoint: str
    plan: RolloutPlan
    before: Endpoint
    after: Endpoint
    seed: str
    state: RolloutState
