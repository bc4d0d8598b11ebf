"""Which versions of a folder are served. Pure functions from what is there to what should be."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from penstock.core.errors import InvalidInput
from penstock.core.routes import TOTAL_WEIGHT, Arm

# What TensorFlow Serving's 64 bits hold.
_MOST_DIGITS = 18


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The newest `count` versions, all of them, or these `versions`."""

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A model: its name, the folder of its version folders, which of them are served, and labels for versions."""

    name: str
    base_path: str
    policy: Policy = Policy()
    labels: dict[str, int] = {}


def numbered(names: Iterable[str]) -> dict[int, str]:
    """The versions among the names of folders: those that are numbers.

    Example:
        >>> numbered(["1", "00000123", "4.partial", ".tmp", "-2"])
        {123: '00000123', 1: '1'}
    """
    return {
        int(name): name for name in sorted(names) if name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS
    }


def chosen(found: Collection[int], policy: Policy, unusable: Collection[int]) -> tuple[int, ...]:
    """The versions to serve, newest first; where the newest cannot be used the next one takes its place.

    Example:
        >>> chosen([1, 2, 3], Policy(count=2), unusable=[3])
        (2, 1)
    """
    usable = sorted((version for version in found if version not in unusable), reverse=True)
    if policy.kind == "specific":
        return tuple(version for version in usable if version in policy.versions)
    return tuple(usable[: policy.count] if policy.kind == "latest" else usable)


def arms_of(bundles: dict[int, Arm]) -> tuple[Arm, ...]:
    """The arms with their weights: the newest version gets every call that names none."""
    newest = max(bundles)
    return tuple(
        msgspec.structs.replace(bundles[version], weight=TOTAL_WEIGHT if version == newest else 0)
        for version in sorted(bundles, reverse=True)
    )


def check_policy(name: str, policy: Policy) -> None:
    """Raise InvalidInput (`invalid-model-config`) for a policy that could serve nothing."""
    if policy.kind == "latest" and policy.count < 1:
        raise InvalidInput("invalid-model-config", f"model {name!r}: num_versions is {policy.count}, not at least 1")
    if policy.kind == "specific" and not policy.versions:
        raise InvalidInput("invalid-model-config", f"model {name!r}: specific names no versions")
