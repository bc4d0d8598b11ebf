"""Which arm answers a call, and why: one pure decision that every node makes alike."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate

import msgspec

from penstock.core.buckets import TOTAL_BUCKETS, bucket_of
from penstock.core.errors import NotFound
from penstock.core.routes import Endpoint, Rule, arm_of_version


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What of a call decides: the `version` it pins, the `arm` it asks for, and who sent it.

    Headers are by lower-case name. `unit` is whom the answer sticks to, `subject` the key's holder; "" for nobody.
    """

    version: str | None = None
    arm: bytes | None = None
    headers: Mapping[bytes, bytes] = {}
    unit: str = ""
    subject: str = ""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """The arm by its index, why that one, the unit's digest (0: no unit), and its bucket where that decided (else -1).

    `reason` is `version`, `override`, `rule:NAME`, `only-arm`, `unit` or `weight`.
    """

    index: int
    reason: str
    digest: int = 0
    bucket: int = -1


class Chooser:
    """Chooses among the arms of one endpoint.

    Example:
        >>> from penstock.core.routes import Arm, Unit
        >>> arms = tuple(Arm(name=name, version=f"m/{n}", bundle="", uri="", weight=weight)
        ...              for n, (name, weight) in enumerate((("old", 9_000), ("new", 1_000)), 1))
        >>> chooser = Chooser("churn", Endpoint(arms=arms, unit=Unit(header="x-user")))
        >>> chooser.choose(Asked(unit="customer-17"), draw=lambda: 0.95).reason
        'unit'
        >>> chooser.choose(Asked(), draw=lambda: 0.95)
        Choice(index=1, reason='weight', digest=0, bucket=-1)
    """

    def __init__(self, name: str, route: Endpoint) -> None:
        self._route = route
        self._seed = route.seed or name
        self._names = {arm.name.encode(): index for index, arm in enumerate(route.arms)}
        self._rules = [_Fit(rule, self._names[rule.arm.encode()]) for rule in route.rules]
        self._starts, self._owners = _owners(route)

    def choose(self, asked: Asked, draw: Callable[[], float]) -> Choice:
        """The arm for one call; `draw` gives a number of [0, 1). Raises NotFound (`unknown-version`, `unknown-arm`)."""
        digest, bucket = bucket_of(self._seed, asked.unit) if asked.unit else (0, -1)
        if asked.version is not None:
            return Choice(arm_of_version(self._route, asked.version), "version", digest)
        if asked.arm is not None:
            return Choice(self._named(asked.arm), "override", digest)
        for rule in self._rules:
            if rule.fits(asked):
                return Choice(rule.index, rule.reason, digest)
        if len(self._names) == 1:
            return Choice(0, "only-arm", digest)
        if digest:
            return Choice(self.owner(bucket), "unit", digest, bucket)
        return Choice(self.owner(int(draw() * TOTAL_BUCKETS)), "weight")

    def owner(self, bucket: int) -> int:
        """The index of the arm that owns `bucket` (0 to 9 999)."""
        return self._owners[bisect_right(self._starts, bucket) - 1]

    def _named(self, arm: bytes) -> int:
        try:
            return self._names[arm]
        except KeyError:
            said, known = arm[:80].decode("latin-1"), ", ".join(one.decode() for one in self._names)
            raise NotFound("unknown-arm", f"there is no arm {said!r}", hint=f"this endpoint has {known}") from None


class _Fit:
    """One rule, ready to be compared."""

    def __init__(self, rule: Rule, index: int) -> None:
        self.index = index
        self.reason = f"rule:{rule.name}"
        self._header = rule.header.lower().encode()
        self._values = frozenset(value.encode() for value in rule.values)
        self._units = frozenset(rule.units)
        self._subjects = frozenset(rule.subjects)

    def fits(self, asked: Asked) -> bool:
        return (
            asked.unit in self._units
            or asked.subject in self._subjects
            or (bool(self._values) and asked.headers.get(self._header) in self._values)
        )


def _owners(route: Endpoint) -> tuple[list[int], list[int]]:
    """Where each range of buckets begins, ascending, and the index of the arm that owns it."""
    ranges = [(low, index) for index, arm in enumerate(route.arms) for low, _ in arm.buckets]
    if not ranges:
        ends = list(accumulate(arm.weight for arm in route.arms))
        ranges = [(end - arm.weight, index) for index, (arm, end) in enumerate(zip(route.arms, ends, strict=True))
                  if arm.weight]  # fmt: skip
    ranges.sort()
    return [low for low, _ in ranges], [index for _, index in ranges]
