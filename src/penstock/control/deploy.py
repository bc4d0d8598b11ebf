"""`penstock.deploy`: pack, register, gate and apply in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.control.apply import begin
from penstock.control.checks import Judge
from penstock.control.going_on import go_on
from penstock.control.operations import Tell
from penstock.control.records import Operation
from penstock.control.routing import read_spec
from penstock.control.spec import EndpointSpec, Spec
from penstock.control.store import Store
from penstock.core.names import check_name
from penstock.registry.records import Version
from penstock.security.identity import Identity


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
    choices: Mapping[str, Any] = {}


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
    wanted = with_version(read_spec(store), wish.endpoint, version.ref)
    operation = begin(store, wanted, identity, None, wish.reason, store.home)
    return Deployed(version=version, operation=go_on(store, operation.id, judge, tell))


def with_version(spec: Spec | None, endpoint: str, version: str) -> Spec:
    """The spec with one version on an endpoint, its only arm. Pure.

    Example:
        >>> with_version(None, "churn", "churn/7").endpoints["churn"].model
        'churn/7'
    """
    spec = spec or Spec(version=1)
    before = spec.endpoints.get(endpoint, EndpointSpec(model=version))
    after = msgspec.structs.replace(before, model=version, arms=())
    return msgspec.structs.replace(spec, endpoints={**spec.endpoints, endpoint: after})
