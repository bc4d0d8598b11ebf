"""`python -m verification [NAME ...] [--again] [--render] [--short]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from verification.checks import CHECKS
from verification.finding import CannotMeasureError, Check, Finding, unmeasured
from verification.measuring import record_of
from verification.page import page, said, verdict
from verification.store import FOLDER, ROOT, answers, code_identity, forget, kept

PAGE = ROOT / "docs" / "verification.md"


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is asked for and not known yet, write the page; 1 if a bar was missed or could not be measured."""
    options = argparse.ArgumentParser(prog="python -m verification", description="Measure Penstock against its bars.")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(check.name for check in CHECKS)}")
    options.add_argument("--again", action="store_true", help="also what was measured on this code already")
    options.add_argument("--render", action="store_true", help="measure nothing, only write the page")
    options.add_argument(
        "--short", action="store_true", help="short forms, to try the checks; no bar is judged by them"
    )
    options.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    given = options.parse_args(words)
    if unknown := set(given.names) - {check.name for check in CHECKS}:
        options.error(f"no check is called {', '.join(sorted(unknown))}")
    wanted = [check for check in CHECKS if not given.names or check.name in given.names]
    if not given.render:
        for check in wanted:
            _measure_unless_known(check, given.short, given.again)
    records = {check.name: record for check in CHECKS if (record := kept(check.name, FOLDER)) is not None}
    given.page.write_text(page(CHECKS, records))
    _say(f"wrote {given.page}")
    findings = [finding for check in wanted if check.name in records for finding in records[check.name].findings]
    return int(any(finding.met is False or not finding.measured for finding in findings))


def _measure_unless_known(check: Check, short: bool, again: bool) -> None:
    code = code_identity()
    if again:
        forget(check.name)
    elif answers(kept(check.name), code, short):
        _say(f"{check.name}: measured on {code} already")
        return
    _say(f"{check.name}: {check.what}")
    record = record_of(check.name, code, short, lambda: _findings(check, short))
    for finding in record.findings:
        _say(f"  {verdict(finding).strip('*'):12} {finding.name}: {said(finding.measured) or finding.note}")
    _say(f"  {record.seconds:.0f} s")


def _findings(check: Check, short: bool) -> list[Finding]:
    try:
        return check.run(check.short if short else check.full)
    except CannotMeasureError as error:
        return [unmeasured(check.what, "", check.name, str(error))]
    # One check that breaks must not keep the others from being measured; it counts as not measured, and is told.
    except (OSError, RuntimeError, ValueError, LookupError, subprocess.SubprocessError) as error:
        return [unmeasured(check.what, "", check.name, f"{type(error).__name__}: {str(error)[:500]}")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
