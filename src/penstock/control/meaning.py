"""What the fields of a spec mean together: names, references, weights that sum, aliases that can be."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from penstock.control.cron import check_cron
from penstock.control.freezes import check_freeze
from penstock.control.spec import ArmSpec, EndpointSpec, ModelSpec, ShadowSpec, Spec
from penstock.core.errors import InvalidInput
from penstock.core.names import VersionRef, check_name, parse_version_ref
from penstock.core.routes import TOTAL_WEIGHT
from penstock.rollout.plan import check_plan


def check_meaning(spec: Spec, name: str) -> None:
    """Raise InvalidInput (`invalid-spec`, `invalid-name`, `invalid-version`, `invalid-cron`) for the first fault."""
    for model, about in spec.models.items():
        check_name(model, f"{name}: models: model")
        _check_model(f"{name}: models.{model}", about)
    for endpoint, about_endpoint in spec.endpoints.items():
        check_name(endpoint, f"{name}: endpoints: endpoint")
        arms_of(about_endpoint, f"{name}: endpoints.{endpoint}")
        _check_rollout(f"{name}: endpoints.{endpoint}", about_endpoint)
    for freeze, window in spec.freezes.items():
        check_name(freeze, f"{name}: freezes: freeze")
        check_freeze(window, f"{name}: freezes.{freeze}")
    for schedule, planned in spec.schedules.items():
        check_name(schedule, f"{name}: schedules: schedule")
        check_cron(planned.cron, f"{name}: schedules.{schedule}.cron")
    for alias in spec.protected_aliases:
        check_name(alias, f"{name}: protected_aliases: alias")


def arms_of(endpoint: EndpointSpec, path: str) -> list[tuple[str, VersionRef, int]]:
    """An endpoint's arms: the name ("" for a default that needs the number), what they serve, ten-thousandths.

    Example:
        >>> arms_of(EndpointSpec(model="churn@champion"), "churn")
        [('champion', VersionRef(name='churn', number=None, alias='champion'), 10000)]
    """
    if bool(endpoint.model) == bool(endpoint.arms):
        raise InvalidInput("invalid-spec", f"{path}: give either model or arms", hint="model: churn@champion")
    arms = endpoint.arms or (ArmSpec(model=endpoint.model),)
    refs = [parse_version_ref(arm.model) for arm in arms]
    weights = shares([arm.weight for arm in arms], path)
    names = [arm.name or ref.alias or ("main" if len(arms) == 1 else "") for arm, ref in zip(arms, refs, strict=True)]
    for index, given in enumerate(names):
        if given:
            check_name(given, f"{path}.arms[{index}]: arm")
        if given and given in names[:index]:
            raise InvalidInput("invalid-spec", f"{path}.arms[{index}].name: {given!r} is the name of two arms")
    return list(zip(names, refs, weights, strict=True))


def shadows_of(endpoint: EndpointSpec, path: str) -> list[tuple[ShadowSpec, VersionRef]]:
    """An endpoint's shadows and what they run."""
    found = [(shadow, parse_version_ref(shadow.model)) for shadow in endpoint.shadows]
    for index, (shadow, _) in enumerate(found):
        if shadow.name:
            check_name(shadow.name, f"{path}.shadows[{index}]: shadow")
    return found


def shares(weights: Sequence[float | None], path: str) -> list[int]:
    """Weights as ten-thousandths, from percent or from ten-thousandths; their sum says which they are.

    Example:
        >>> shares([99.5, 0.5], "churn"), shares([9_000, 1_000], "churn"), shares([None], "churn")
        ([9950, 50], [9000, 1000], [10000])
    """
    if list(weights) == [None]:
        return [TOTAL_WEIGHT]
    # As they are written: 0.1 + 0.2 + 99.7 is 100, whatever binary fractions say.
    exact = [Decimal(str(weight)) for weight in weights if weight is not None]
    total = sum(exact)
    if len(exact) < len(weights):
        raise InvalidInput("invalid-spec", f"{path}: every arm of several needs a weight")
    if total not in (100, TOTAL_WEIGHT) or min(exact) < 0:
        raise InvalidInput(
            "invalid-spec",
            f"{path}: the weights {', '.join(map(str, weights))} sum to {total}",
            hint="0 or more each, together 100 (percent) or 10000",
        )
    scaled = [weight * (TOTAL_WEIGHT // int(total)) for weight in exact]
    if any(weight != int(weight) for weight in scaled):
        raise InvalidInput("invalid-spec", f"{path}: a weight is finer than 0.01 percent")
    return [int(weight) for weight in scaled]


def _check_rollout(path: str, endpoint: EndpointSpec) -> None:
    shadows_of(endpoint, path)
    if endpoint.rollout is None:
        return
    check_plan(endpoint.rollout, f"{path}.rollout")
    if len(endpoint.arms) > 1:
        raise InvalidInput("invalid-rollout", f"{path}.rollout: a rollout leads to one version, and arms are several")
    if endpoint.rollout.policy == "thompson" and endpoint.unit is not None:
        raise InvalidInput(
            "invalid-rollout",
            f"{path}.rollout.policy: thompson moves shares up and down, and units would change with them",
            hint="leave unit out, or policy",
        )
    if not endpoint.recording.sample:
        raise InvalidInput("invalid-rollout", f"{path}.rollout: recording.sample is 0, so there is nothing to judge by")


def _check_model(path: str, model: ModelSpec) -> None:
    for alias, target in model.aliases.items():
        check_name(alias, f"{path}.aliases: alias")
        if target == "bundle" and not model.bundle:
            raise InvalidInput("invalid-spec", f"{path}.aliases.{alias}: there is no bundle", hint="add bundle: PATH")
        if isinstance(target, int) and not 0 < target < 2**31:
            raise InvalidInput("invalid-spec", f"{path}.aliases.{alias}: {target} is no version number")
