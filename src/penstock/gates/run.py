"""All gates of a plan, from the cheapest to the dearest; whatever happens in one is a finding, and ends no other."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import msgspec

from penstock.core.clock import Clock, monotonic, timestamp, wall
from penstock.core.errors import PenstockError
from penstock.core.verdicts import Finding, Report, conclude
from penstock.gates.candidate import Candidate
from penstock.gates.plan import GatePlan, Settings


def run_gates(
    candidate: Candidate,
    plan: GatePlan,
    *,
    progress: Callable[[str], None] = lambda gate: None,
    clock: Clock = monotonic,
    today: Clock = wall,
) -> Report:
    """Ask every gate of the plan and conclude; `progress` hears the name of each before it begins.

    Raises nothing of its own: a gate that cannot run is `inconclusive`, with the code of what it lacks.
    """
    began, started = clock(), timestamp(today())
    findings = []
    for gate, settings in plan.gates().items():
        progress(gate)
        findings.append(run_gate(gate, candidate, settings, plan.timeout_s, clock))
    champion = candidate.champion.bundle.digest if candidate.champion is not None else ""
    return conclude(
        candidate.bundle.digest, findings, started=started, seconds=round(clock() - began, 3),
        endpoint=candidate.endpoint, champion=champion,
    )  # fmt: skip


def run_gate(
    gate: str, candidate: Candidate, settings: Settings, timeout_s: float, clock: Clock = monotonic
) -> Finding:
    """One gate, in at most about `timeout_s` seconds; loaded when it is asked for, since each needs other libraries."""
    began = clock()
    try:
        check = import_module(f"penstock.gates.{gate}").check
        found: Finding = check(candidate.within(timeout_s), settings)
    except PenstockError as error:
        found = Finding(gate=gate, verdict="inconclusive", summary=str(error), code=error.code)
    except ModuleNotFoundError as error:
        summary = f"this gate needs the module {error.name!r}; pip install 'penstock[pack]'"
        found = Finding(gate=gate, verdict="inconclusive", summary=summary, code="missing-extra")
    except Exception as error:  # a gate computes with data of unknown origin; its failure must not end the others
        summary = f"the gate itself failed with {type(error).__name__}: {str(error)[:300]}"
        found = Finding(gate=gate, verdict="inconclusive", summary=summary, code="internal-error")
    return msgspec.structs.replace(found, seconds=round(clock() - began, 3))
