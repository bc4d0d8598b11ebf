"""One endpoint changed by a call instead of a file: `penstock.deploy` (pack, register, gate, apply), and rollouts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.control.apply import begin
from penstock.control.checks import Judge
from penstock.control.going_on import go_on
from penstock.control.meaning import arms_of
from penstock.control.operations import Tell
from penstock.control.records import Operation
from penstock.control.rollout_rows import give_up
from penstock.control.rollouts import refuse_running
from penstock.control.routing import read_head, read_spec
from penstock.control.spec import EndpointSpec, Spec
from penstock.control.store import Store
from penstock.core.errors import NotFound
from penstock.core.names import VersionRef, check_name, parse_version_ref
from penstock.registry.records import Version
from penstock.rollout.plan import RolloutPlan, check_plan
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """The version that was made, and the operation that was to serve it: `done`, `failed` or `waiting-approval`."""

    version: Version
    operation: Operation


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment is told besides the model: names, and the `choices` of packing."""

    name: str
    endpoint: str
    alias: str = ""
    reason: str = ""
    rollout: RolloutPlan | None = None
    choices: Mapping[str, Any] = {}


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout to be begun: the version (`churn/8`) and how; without a plan as the endpoint's spec says.

    `expected_generation` refuses it where somebody applied since.
    """

    model: str
    plan: RolloutPlan | None = None
    expected_generation: int | None = None
    reason: str = ""


def deploy(store: Store, model: Any, sample: Any, wish: Wish, identity: Identity, judge: Judge, tell: Tell) -> Deployed:
    """Pack a model, register it as the next version, and give it all of an endpoint's traffic once its gates pass.

    The endpoint keeps its limits and the like; every other endpoint stays as it is.
    """
    # Here, because a control that only serves is installed without the libraries that packing needs.
    from penstock.pack import pack

    check_name(wish.endpoint, "endpoint")
    with tempfile.TemporaryDirectory(prefix="penstock-deploy-") as folder:
        packed = pack(model, sample, name=wish.name, out=Path(folder) / f"{wish.name}.penstock", **wish.choices)
        registry = store.registry(identity)
        version = registry.register(packed.path, name=wish.name, alias=wish.alias, reason=wish.reason)
    wanted = with_version(read_spec(store), wish.endpoint, version.ref, wish.rollout)
    operation = begin(store, wanted, identity, None, wish.reason, store.home)
    return Deployed(version=version, operation=go_on(store, operation.id, judge, tell))


def start(store: Store, endpoint: str, wish: Start, identity: Identity) -> Operation:
    """Begin an apply in which another version takes over an endpoint by a rollout, and nothing else changes.

    Raises NotFound (`unknown-endpoint`, `unknown-version`), InvalidInput (`invalid-rollout`) and what `apply` raises.
    """
    spec = read_spec(store)
    if spec is None or endpoint not in spec.endpoints:
        raise NotFound("unknown-endpoint", f"no endpoint {endpoint[:80]!r}", hint="penstock apply makes it first")
    version = store.registry(identity).resolve(wish.model)
    plan = wish.plan or spec.endpoints[endpoint].rollout or RolloutPlan()
    check_plan(plan, "plan")
    _try_again(store, endpoint, version.ref, identity, wish.reason)
    wanted = with_version(spec, endpoint, version.ref, plan)
    return begin(store, wanted, identity, wish.expected_generation, wish.reason, store.home)


def _try_again(store: Store, endpoint: str, version: str, identity: Identity, reason: str) -> None:
    """Forget that this very version went back; raises Forbidden, and Conflict (`rollout-running`) while one goes on."""
    allow(identity, "apply", endpoint)
    with store.change(identity, reason) as change:
        head = read_head(change.connection, store)
        refuse_running(head, endpoint)
        record = head.standing.get(endpoint)
        if record is not None and record.rollout.after.arms[0].version == version:
            give_up(change, record)


def with_version(spec: Spec | None, endpoint: str, version: str, rollout: RolloutPlan | None = None) -> Spec:
    """The spec with one version on an endpoint, its only arm. Pure.

    Where the endpoint follows an alias that the spec sets, the alias is what changes.

    Example:
        >>> with_version(None, "churn", "churn/7").endpoints["churn"].model
        'churn/7'
    """
    spec = spec or Spec(version=1)
    before = spec.endpoints.get(endpoint, EndpointSpec(model=version))
    models, ref, wanted = dict(spec.models), _only_alias(before), parse_version_ref(version)
    about = models.get(wanted.name)
    if ref is None or ref.name != wanted.name or about is None or ref.alias not in about.aliases:
        before = msgspec.structs.replace(before, model=version, arms=())
    elif wanted.number is not None:
        models[wanted.name] = msgspec.structs.replace(about, aliases={**about.aliases, ref.alias: wanted.number})
    after = msgspec.structs.replace(before, rollout=rollout or before.rollout)
    spec = msgspec.structs.replace(spec, models=models)
    return msgspec.structs.replace(spec, endpoints={**spec.endpoints, endpoint: after})


def _only_alias(endpoint: EndpointSpec) -> VersionRef | None:
    """The alias that an endpoint follows with all its traffic."""
    refs = [ref for _, ref, _ in arms_of(endpoint, "")]
    return refs[0] if len(refs) == 1 and refs[0].alias is not None else None
