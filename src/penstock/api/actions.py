"""What schedules name, done by this control process and told to its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from penstock.api.doors import Event
from penstock.control.again import Judged
from penstock.control.control import Control
from penstock.core.clock import Clock
from penstock.predlog.compact import compact_all
from penstock.predlog.table_retention import TableLimits, trim
from penstock.predlog.table_views import LogPlaces
from penstock.security.identity import Identity

Actions = Mapping[str, Callable[[], object]]
# Segments lie in the home of the node that wrote them, where no other control reaches them.
OF_EACH_HOME = frozenset({"compact-log"})
_LIMITS = TableLimits()


def actions_of(control: Control, places: LogPlaces, identity: Identity, event: Event, clock: Clock) -> Actions:
    """The actions by name; `compact-log` is there where DuckDB is."""

    def tell(what: str, judged: list[Judged]) -> None:
        for one in judged:
            event(
                "version-judged", what=what, endpoint=one.endpoint, version=one.version, verdict=one.verdict,
                reasons=one.reasons, code=one.code,
            )  # fmt: skip

    actions: dict[str, Callable[[], object]] = {
        "rehearse": lambda: tell("rehearse", control.judge_served(identity=identity, golden_alone=True)),
        "rehearse-rollback": lambda: tell("rehearse-rollback", control.rehearse_rollback(identity=identity)),
        "check": lambda: tell("check", control.judge_served(identity=identity)),
    }
    if find_spec("duckdb") is not None:
        actions["compact-log"] = lambda: _compact_log(places, event, clock)
    return actions


def _compact_log(places: LogPlaces, event: Event, clock: Clock) -> None:
    # Again: nodes that came since have folders of their own.
    places = places.again()
    done = compact_all(places)
    trimmed = trim(places.table, places.cache / "parts", clock(), _LIMITS)
    event(
        "log-compacted", segments=done.segments, rows=done.rows, outcomes=done.batches, damaged=done.damaged,
        waiting=done.waiting, problems=list(done.problems), trimmed=len(trimmed),
    )  # fmt: skip
