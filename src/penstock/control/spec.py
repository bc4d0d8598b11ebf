"""`penstock.yaml`: what should be, as types. The reference page and the JSON Schema for editors are made from them.

Reading a file is in `reading.py`, what the fields mean together in `meaning.py`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.core.routes import Cache, Limits, Recording, Rule, Unit
from penstock.gates.plan import GatePlan

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


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stable address: either `model` or `arms`. The other fields are those of the route document.

    `gates` are these instead of the spec's.
    """

    model: str = ""
    arms: tuple[ArmSpec, ...] = ()
    unit: Unit | None = None
    seed: str = ""
    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    isolation: Literal["auto", "inline", "process"] = "auto"
    cache: Cache | None = None
    recording: Recording = Recording()
    gates: GatePlan | None = None


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A model: `bundle` is registered if it is not yet, `aliases` point at version numbers, or at `bundle`'s version.

    The path of the bundle starts from the folder of `penstock.yaml`.
    """

    bundle: str = ""
    aliases: dict[str, int | Literal["bundle"]] = {}


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something done again and again: `cron` has five fields, in UTC.

    `compact-log` turns log segments into Parquet, `rehearse` replays golden rows on every served version, `check` runs
    the gates of what is served again.
    """

    cron: str
    what: Literal["compact-log", "rehearse", "check"]


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
    protected_aliases: tuple[str, ...] = ()
    access: AccessSpec = AccessSpec()
