"""What a check before traffic found: `pass`, `fail` or `inconclusive`, with the evidence.

Inconclusive is a verdict of its own and counts as neither of the others: too little data, or a check that could not
run. Nothing goes out on it unasked, and nothing is called bad because of it; somebody must decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput

FORMAT = 1
Verdict = Literal["pass", "fail", "inconclusive"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one gate found. `summary` is one line for people, `evidence` plain values that show how it got there.

    `code` is the error's code where the gate could not run; then the verdict is `inconclusive`, or `fail` where the
    candidate is at fault.
    """

    gate: str
    verdict: Verdict
    summary: str
    evidence: dict[str, Any] = {}
    code: str = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all gates found about one bundle, and what follows from it; made by `conclude`.

    `bundle` and `champion` are digests, `endpoint` the address that the candidate is meant for, if there is one.
    `started` is RFC 3339 in UTC.
    """

    format: int
    bundle: str
    findings: tuple[Finding, ...]
    verdict: Verdict
    started: str
    seconds: float
    endpoint: str = ""
    champion: str = ""


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """What several verdicts come to: fail if any failed, else inconclusive if any is, else pass.

    No verdict at all is inconclusive: where nothing was looked at, nothing was found good.

    Example:
        >>> overall(["pass", "inconclusive", "fail"]), overall(["pass", "inconclusive"]), overall(["pass"]), overall([])
        ('fail', 'inconclusive', 'pass', 'inconclusive')
    """
    found = set(verdicts)
    if "fail" in found:
        return "fail"
    return "pass" if found == {"pass"} else "inconclusive"


def conclude(
    bundle: str, findings: Iterable[Finding], *, started: str, seconds: float, endpoint: str = "", champion: str = ""
) -> Report:
    """The report on `findings`, with the verdict that follows from them."""
    found = tuple(findings)
    verdict = overall(finding.verdict for finding in found)
    return Report(
        format=FORMAT, bundle=bundle, findings=found, verdict=verdict, started=started, seconds=seconds,
        endpoint=endpoint, champion=champion,
    )  # fmt: skip


def report_json(report: Report) -> bytes:
    """The canonical bytes of a report, to be stored with the version."""
    return canonical_json(report)


class _FormatOnly(msgspec.Struct):
    format: int


def read_report(data: bytes) -> Report:
    """Read a report of any released format.

    Raises InvalidInput (`newer-format`, `damaged-report`); damaged is also one whose verdict does not follow from its
    findings, so that nobody turns a fail into a pass by changing one word.
    """
    try:
        version = msgspec.json.decode(data, type=_FormatOnly).format
        if version > FORMAT:
            raise InvalidInput("newer-format", f"the report has format {version}, newer than {FORMAT}", hint="upgrade")
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput("damaged-report", f"the report cannot be read: {error}", hint="check again") from None
    if report.verdict != overall(finding.verdict for finding in report.findings):
        raise InvalidInput(
            "damaged-report", f"the verdict {report.verdict!r} does not follow from the findings", hint="check again"
        )
    return report
