"""Versions, models and events as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from penstock.cli.answers import counted, json_text

if TYPE_CHECKING:
    from penstock.core.signature import Field
    from penstock.core.verdicts import Report
    from penstock.registry.records import Event, Model, Verification, Version


def model_line(model: Model) -> str:
    """One model: name, number of versions, aliases."""
    aliases = ", ".join(f"{name}={number}" for name, number in model.aliases.items())
    return f"{model.name:<24} {counted(model.versions, 'version'):>13}  {aliases}".rstrip()


def version_line(version: Version) -> str:
    """One version: reference, digest, time, aliases, metrics."""
    marks = ", ".join([*version.aliases, *(["retired"] if version.retired else [])])
    metrics = ", ".join(f"{name}={value:.6g}" for name, value in version.metrics.items())
    return f"{version.ref:<24} {version.digest[:19]}  {version.created_at[:16]}  {marks:<24} {metrics}".rstrip()


def version_lines(version: Version) -> Iterator[str]:
    """Everything about one version, a fact a line; what is empty is left out."""
    facts = msgspec.to_builtins(version)
    facts["signature"] = f"{_fields(version.signature.inputs)} -> {_fields(version.signature.outputs)}"
    yield version.ref
    for name, value in facts.items():
        if name not in ("model", "number") and value not in (None, "", {}, []):
            yield f"  {name:<13} {value if isinstance(value, str) else json_text(value)}"


def report_line(report: Report) -> str:
    """What gates found, in a line."""
    found = ", ".join(f"{one.gate} {one.verdict}" for one in report.findings)
    against = f" against {report.champion.removeprefix('sha256:')[:12]}" if report.champion else ""
    return f"  gates         {report.verdict} for {report.endpoint}{against}, {report.started}: {found}"


def event_line(event: Event) -> str:
    """One event of the audit log: who changed what, from what to what, and why."""
    change = f"{json_text(event.before)} -> {json_text(event.after)}"
    reason = f"  ({event.reason})" if event.reason else ""
    return f"{event.seq:>5} {event.time}  {event.actor:<12} {event.action:<18} {event.subject:<24} {change}{reason}"


def verification_lines(found: Verification) -> Iterator[str]:
    """What walking the audit log found; the hash is what to note down for the next time."""
    if found.broken_at is not None:
        yield f"broken at event {found.broken_at}: {found.problem}"
        yield f"last good hash {found.head}"
    elif found.unrecorded:
        yield f"{counted(found.events, 'event')}, unbroken, but a change was not recorded: {found.unrecorded}"
    else:
        yield f"{counted(found.events, 'event')}, unbroken"
        yield f"head {found.head}"


def _fields(fields: Iterable[Field]) -> str:
    return ", ".join(f"{field.name} {field.datatype}{list(field.shape)}" for field in fields)
