"""What one measurement found, and the records that are kept of a check."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One bar and what was measured beside it.

    `met` is None where nothing is judged: no bar, measurements that contradict each other, or none at all (then
    `measured` is empty and `note` says why). `command` measures it again, alone.
    """

    name: str
    bar: str
    measured: dict[str, Any]
    met: bool | None
    command: str
    note: str = ""


class Check(msgspec.Struct, frozen=True):
    """One check: `full` and `short` are its plans, of which `run` takes either and returns what it found."""

    name: str
    what: str
    run: Callable[[Any], list[Finding]]
    full: Any
    short: Any


class Record(msgspec.Struct, frozen=True):
    """The findings of one run of a check, with what they were measured on."""

    check: str
    code: str
    when: str
    seconds: float
    short: bool
    load_average: float
    machine: dict[str, Any]
    findings: list[Finding]

    @property
    def complete(self) -> bool:
        """Whether every finding was measured."""
        return all(finding.measured for finding in self.findings)


class CannotMeasureError(Exception):
    """Something that a check needs is not there; says what, and how to get it."""


def command(name: str) -> str:
    """What a person types to run one check again."""
    return f"make verify WHAT='{name} --again'"


def unmeasured(name: str, bar: str, check: str, why: str) -> Finding:
    """The finding of something that could not be measured."""
    return Finding(name, bar, {}, None, command(check), why)


def at_most(value: float, bar: float, bases: Sequence[float]) -> bool | None:
    """Whether `value` <= `bar` x base; None where the several measurements of the base do not agree on that.

    A machine that does other things measures one thing differently each time: then nothing can be said.

    Example:
        >>> at_most(3, 2, [2, 4]), at_most(6, 2, [2, 4]), at_most(9, 2, [2, 4])
        (True, None, False)
    """
    verdicts = {value <= bar * base for base in bases}
    return verdicts.pop() if len(verdicts) == 1 else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed (nearest rank); NaN for none.

    Example:
        >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([7.0], 0.99)
        (2.0, 7.0)
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
