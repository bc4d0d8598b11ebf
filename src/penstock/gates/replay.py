"""Replay: recorded requests answered again, and every row held against the answer it got then.

A request that was answered and is now refused, or fails, breaks whoever sent it. That answers differ is what a new
model is for; how much they may, the settings say, and without that it is shown and not judged.
"""

from __future__ import annotations

import msgspec

from penstock.core.clock import Clock, wall
from penstock.core.errors import InvalidInput
from penstock.core.verdicts import Finding, Verdict, overall
from penstock.gates.candidate import Candidate
from penstock.gates.intervals import Interval, share
from penstock.gates.plan import ReplaySettings
from penstock.predlog.replay import Replay, replay
from penstock.predlog.table_views import Selection

_DAY_S = 86_400


def check(candidate: Candidate, settings: ReplaySettings, today: Clock = wall) -> Finding:
    """Fail on a recorded row that is not answered any more, or on more change than wanted.

    Raises InvalidInput (`no-requests`) where nothing can be compared, and what reading the log raises.
    """
    if candidate.log is None:
        raise InvalidInput("no-requests", "there is no prediction log to replay", hint="leave the gate out")
    candidate.served.start()
    selection = Selection(since=today() - settings.days * _DAY_S if settings.days is not None else None)
    found = replay(
        candidate.log, candidate.endpoint or candidate.bundle.manifest.name, candidate.signature, candidate.answer,
        selection, sample=settings.rows, batch_rows=64 if candidate.bundle.manifest.batching.allowed else 1,
    )  # fmt: skip
    # What came too late was counted as refused.
    candidate.left_s()
    broken: dict[str, int] = {
        reason: found.skipped[reason] for reason in ("refused", "unfit") if reason in found.skipped
    }
    if not found.rows and not broken:
        why = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items())
        raise InvalidInput("no-requests", f"no recorded row can be compared: {why}", hint="leave the gate out")
    return _finding(found, broken, settings)


def _finding(found: Replay, broken: dict[str, int], settings: ReplaySettings) -> Finding:
    changed = _share_changed(found, settings)
    verdicts: list[Verdict] = ["fail" if broken else "pass"]
    said = [f"{count} recorded rows are {reason} now" for reason, count in broken.items()]
    part = f"{found.changed} of {found.rows} rows are answered otherwise"
    if changed is not None and settings.max_changed is not None:
        verdicts.append(changed.at_most(settings.max_changed))
        part += f" [{changed.low:.2%}, {changed.high:.2%}], at most {settings.max_changed:.2%} may be"
    said += [part, f"scores moved by at most {found.largest_shift:.4g}"]
    if settings.max_shift is not None:
        verdicts.append("fail" if found.largest_shift > settings.max_shift else "pass")
        said[-1] += f" of {settings.max_shift:g}"
    return Finding(
        gate="replay", verdict=overall(verdicts), summary="; ".join(said), evidence=msgspec.to_builtins(found)
    )


def _share_changed(found: Replay, settings: ReplaySettings) -> Interval | None:
    if settings.max_changed is None or not found.rows:
        return None
    alpha = 1 - settings.confidence
    return share(found.changed, found.rows, alpha, alpha)
