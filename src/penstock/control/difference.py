"""The difference between what is and what should be, as values and as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.control.records import Change
from penstock.control.spec import Spec
from penstock.core.digest import canonical_json
from penstock.core.routes import Endpoint

# What a spec says besides endpoints and models, which are compared as what they resolve to.
_SETTINGS = ("gates", "schedules", "freezes", "protected_aliases", "access")


def compare(
    served: Mapping[str, Endpoint], wanted: Mapping[str, Endpoint], after: Mapping[str, Endpoint]
) -> tuple[Change, ...]:
    """One change for each endpoint of either side, by name.

    `wanted` is what was asked for before. What is asked for again changes nothing, also where a rollout has not brought
    it about yet, or went back from it.
    """
    changes = []
    for name in sorted({*wanted, *after}):
        again = wanted.get(name) == after.get(name)
        changes.append(
            _change(name, after.get(name) if again else served.get(name), after.get(name), asked_again=again)
        )
    return tuple(changes)


def compare_settings(before: Spec | None, after: Spec) -> tuple[str, ...]:
    """Lines for what is no endpoint and differs."""
    old = before or Spec(version=after.version)
    lines = []
    for name in _SETTINGS:
        one, two = getattr(old, name), getattr(after, name)
        if one != two:
            lines.append(f"{name}: {_text(one)} -> {_text(two)}")
    for name in sorted({*old.endpoints, *after.endpoints}):
        lines += _own(name, "gates", old, after)
    return tuple(lines)


def compare_plans(before: Spec | None, after: Spec) -> dict[str, tuple[str, ...]]:
    """By endpoint, a line where its next version would take over otherwise; it changes nothing of what is served."""
    old = before or Spec(version=after.version)
    found = {name: tuple(_own(name, "rollout", old, after)) for name in sorted({*old.endpoints, *after.endpoints})}
    return {name: lines for name, lines in found.items() if lines}


def _own(name: str, setting: str, old: Spec, after: Spec) -> Iterator[str]:
    one, two = (getattr(spec.endpoints.get(name), setting, None) for spec in (old, after))
    if one != two:
        yield f"endpoints.{name}.{setting}: {_text(one)} -> {_text(two)}"


# What an endpoint that is not there is compared with: whatever is not said.
_NOTHING = Endpoint(arms=())


def _change(name: str, before: Endpoint | None, after: Endpoint | None, *, asked_again: bool) -> Change:
    if asked_again:
        return Change(endpoint=name, what="unchanged", before=before, after=after)
    what: Any = "created" if before is None else "removed" if after is None else "changed"
    return Change(endpoint=name, what=what, before=before, after=after, differences=tuple(_differences(before, after)))


def _differences(before: Endpoint | None, after: Endpoint | None) -> Iterator[str]:
    olds = {arm.name: arm for arm in before.arms} if before is not None else {}
    news = {arm.name: arm for arm in after.arms} if after is not None else {}
    for name in dict.fromkeys([*olds, *news]):
        old, new = olds.get(name), news.get(name)
        if old != new:
            yield f"arm {name}: {_arm(old)} -> {_arm(new)}"
    for field in Endpoint.__struct_fields__[1:]:
        one, two = (getattr(_NOTHING if side is None else side, field) for side in (before, after))
        if one != two:
            yield f"{field}: {_text(one)} -> {_text(two)}"


def _arm(arm: Any) -> str:
    return "none" if arm is None else f"{arm.version} {percent(arm.weight)}"


def percent(weight: int) -> str:
    """Ten-thousandths as people read them.

    Example:
        >>> percent(10_000), percent(9_950)
        ('100%', '99.5%')
    """
    return f"{weight / 100:g}%"


def _text(value: Any) -> str:
    return "none" if value is None else canonical_json(value).decode()
