"""All checks, from cheap to heavy."""

from __future__ import annotations

from verification.checks import (
    bench,
    convergence,
    experiments,
    join,
    kinds,
    lint,
    loads,
    overload,
    pythons,
    shadows,
    size,
    suites,
    swap,
)
from verification.finding import Check

CHECKS: tuple[Check, ...] = (
    lint.CHECK, size.CHECK, *suites.CHECKS, loads.CHECK, overload.CHECK, swap.CHECK, shadows.CHECK, join.CHECK,
    convergence.CHECK, experiments.CHECK, kinds.CHECK, pythons.CHECK, bench.CHECK,
)  # fmt: skip
