"""`penstock.yaml`: what should be, as types. The reference page and the JSON Schema for editors are made from them.

Reading a file is in `reading.py`, what the fields mean together in `meaning.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.core.routes import Cache, Limits, Recording, Rule, Unit
from penstock.gates.plan import GatePlan
from penstock.rollout.plan import RolloutPlan

VERSION = 1


class ArmSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A version and its share of the endpoint's traffic.

    `model` is `churn@champion`, `churn/7`, or `churn` for the newest version. Weights are all percent (they sum to
    100) or all ten-thousandths (10000); an endpoint's only arm needs none. `name` is by default the alias, else `main`
    for an only arm, else `v7`.
    """

    model: str
    name: str = ""
    weight: float | None = None


class ShadowSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A version that gets copies of calls and answers nobody.

    `model` as of an arm; `name` is by default the alias, else `v7`. `share` is the percentage of calls it gets; what
    exceeds `max_pending_calls`, or the `budget` (share of one core's time), is dropped and counted.
    """

    model: str
    name: str = ""
    share: Annotated[float, Meta(gt=0, le=100)] = 100
    max_pending_calls: Annotated[int, Meta(ge=1)] = 256
    budget: Annotated[float, Meta(gt=0, le=1)] = 0.25


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stable address: either `model` or `arms`. The other fields are those of the route document.

    The `default` one answers addresses that name no model. `gates` are these instead of the spec's. `rollout` says how
    another version takes over; without it, at once.
    """

    model: str = ""
    arms: tuple[ArmSpec, ...] = ()
    shadows: tuple[ShadowSpec, ...] = ()
    unit: Unit | None = None
    seed: str = ""
    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    isolation: Literal["auto", "inline", "process"] = "auto"
    cache: Cache | None = None
    recording: Recording = Recording()
    default: bool = False
    gates: GatePlan | None = None
    rollout: RolloutPlan | None = None


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A model: `bundle` is registered if it is not yet, `aliases` point at version numbers, or at `bundle`'s version.

    The path of the bundle starts from the folder of `penstock.yaml`.
    """

    bundle: str = ""
    aliases: dict[str, int | Literal["bundle"]] = {}


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something done again and again: `cron` has five fields, in UTC.

    `compact-log` turns log segments into Parquet, `rehearse` replays golden rows on every served version,
    `rehearse-rollback` on the version that each endpoint would go back to, `check` runs the gates of what is served
    again.
    """

    cron: str
    what: Literal["compact-log", "rehearse", "rehearse-rollback", "check"]


class Freeze(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A time in which no version goes forward: no apply that changes an endpoint, no step of a rollout.

    Either `hours` from each minute that `cron` names (UTC), or once, from `since` to `until` (RFC 3339). Going back is
    never frozen.
    """

    cron: str = ""
    hours: float = 0
    since: str = ""
    until: str = ""


class AccessSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who may call endpoints: everybody who reaches a node, or with `required` whoever has a key."""

    required: bool = False


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The whole of what should be. What is not in it is taken away, but for registered versions and aliases.

    `protected_aliases` are moved by two people only. `gates` are what a version passes before it is
    served; without them, those that need no data.
    """

    version: int
    models: dict[str, ModelSpec] = {}
    endpoints: dict[str, EndpointSpec] = {}
    gates: GatePlan | None = None
    schedules: dict[str, Schedule] = {}
    freezes: dict[str, Freeze] = {}
    protected_aliases: tuple[str, ...] = ()
    access: AccessSpec = AccessSpec()
