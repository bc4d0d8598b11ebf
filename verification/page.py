"""The text of docs/verification.md, from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verification.finding import Check, Finding, Record, command


def verdict(finding: Finding) -> str:
    """The last word of a line: met, missed, stated, not judged or not measured."""
    if not finding.measured:
        return "not measured"
    if finding.met is None:
        return "not judged" if finding.bar else "stated"
    return "met" if finding.met else "**missed**"


def page(checks: Sequence[Check], records: Mapping[str, Record]) -> str:
    """All checks with bar, measurement and verdict; misses and what was not measured stand first."""
    findings = [finding for check in checks if check.name in records for finding in records[check.name].findings]
    lines = [
        "# Verification",
        "",
        "Written by `make verify`; the figures are measured, each on the commit its table names.",
        "",
    ]
    lines += [*_summary(checks, records, findings), ""]
    for check in checks:
        lines += [f"## {check.name}: {check.what}", ""]
        record = records.get(check.name)
        lines += _table(record) if record else [f"Not measured. `{command(check.name)}` measures it."]
        lines.append("")
    lines += [
        "## Running it", "",
        "`make verify` measures what was not measured on this commit yet and writes this page. `make verify WHAT=NAME`",
        "runs one check, `WHAT='NAME --again'` repeats it, `WHAT=--render` only writes the page. Results are kept in",
        "`.verify/`. On a machine that does anything else meanwhile, the figures say little; the load average before",
        "each check is given for that.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _summary(checks: Sequence[Check], records: Mapping[str, Record], findings: Sequence[Finding]) -> list[str]:
    judged = [finding for finding in findings if finding.met is not None]
    missed = [
        f"- **missed**: {finding.name}: {said(finding.measured)} (bar: {finding.bar})"
        for finding in judged
        if not finding.met
    ]
    unclear = [
        f"- not judged: {finding.name}: {said(finding.measured)} (bar: {finding.bar}; the machine was not quiet enough)"
        for finding in findings
        if verdict(finding) == "not judged"
    ]
    absent = [f"- not measured: {finding.name}: {finding.note}" for finding in findings if not finding.measured]
    absent += [f"- not measured: {check.what}" for check in checks if check.name not in records]
    count = f"{sum(bool(finding.met) for finding in judged)} of {len(judged)} bars met; {len(absent)} not measured."
    return [count, *([""] if missed or unclear or absent else []), *missed, *unclear, *absent]


def _table(record: Record) -> list[str]:
    machine = record.machine
    short = "**a short run, for trying the check only**; " if record.short else ""
    head = (
        f"{short}{record.when[:10]}, commit `{record.code or 'unknown'}`, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, kernel {machine['kernel']}, Python {machine['python']}; took "
        f"{record.seconds:.0f} s, load average before it {record.load_average:.1f}. Alone: `{command(record.check)}`."
    )
    lines = [
        head, "", "| what | bar | measured | |", "|---|---|---|---|",
    ]  # fmt: skip
    notes: list[str] = []
    for finding in record.findings:
        measured = said(finding.measured) if finding.measured else finding.note
        cells = (finding.name, finding.bar, measured, verdict(finding))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        if finding.measured and finding.note and finding.note not in notes:
            notes.append(finding.note)
    return lines + [line for note in notes for line in ("", note[:1].upper() + note[1:] + ".")]


def said(measured: Mapping[str, Any]) -> str:
    """A measurement in one line.

    Example:
        >>> said({"ratio": 2.5, "at_64": {"p99_ms": 3.0}, "pss_mib": [80, 81]})
        'ratio 2.5; at_64 (p99_ms 3.0); pss_mib 80, 81'
    """
    return "; ".join(f"{key} {_value(value)}" for key, value in measured.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + ")"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
