"""Following control: fetch the routes by long poll, put them where the event loops look, report what became of them.

The document lands in the node's own routes file, by rename, exactly as if a person had published it there: the loops
follow that file already, so a node that has lost control is a node whose file does not change. Two threads of the
node's first process do it; the hot path knows nothing of them.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from http.client import HTTPException
from pathlib import Path
from typing import NoReturn

import msgspec

from penstock.core.clock import monotonic
from penstock.core.digest import canonical_json
from penstock.core.errors import Conflict, PenstockError
from penstock.core.routes import RouteDocument, read_routes
from penstock.serving.applied import Applied, read_applied
from penstock.serving.board import Boards
from penstock.serving.control_line import ControlLine, Refusal
from penstock.serving.log import Log
from penstock.serving.settings import Following, NodeSettings

WAIT_S = 30
LOOK_S = 0.1
_MOST_S = 5.0
_FIRST_S = 0.2
_LOST = (OSError, HTTPException, Refusal)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a node tells control after each change, and as its heartbeat.

    `state` is `refused` when an endpoint could not be changed: it is served as it was before.
    """

    generation: int
    digest: str
    state: str
    problems: dict[str, str]
    address: str
    processes: int
    ready: bool


class Follower:
    """Keeps `settings.routes` equal to what control says. `start` returns at once."""

    def __init__(self, settings: NodeSettings, following: Following, log: Log) -> None:
        self._settings = settings
        self._following = following
        self._log = log
        self._boards = Boards(settings.state, settings.processes)
        self._have = _newest(settings)
        self._refused = ""

    def start(self) -> None:
        """Fetch and report until the process ends."""
        for work in (self._fetch_forever, self._report_forever):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    # ---- fetching

    def _fetch_forever(self) -> NoReturn:
        line = ControlLine(self._following, WAIT_S + 10)
        failures, said = 0, ""
        while True:
            try:
                self._take(line.request("GET", self._routes_path()))
                if failures:
                    self._log.event("control-back", control=self._following.control)
                failures, said = 0, ""
            except (*_LOST, PenstockError) as error:
                failures += 1
                # Once per reason, not once per attempt: control may be away for days.
                if str(error) != said:
                    said = str(error)
                    event = "routes-refused" if isinstance(error, PenstockError) else "control-away"
                    self._log.event(event, control=self._following.control, reason=said[:300])
                threading.Event().wait(pause_s(failures, random.random()))  # noqa: S311 - spreads nodes, no secret

    def _routes_path(self) -> str:
        generation, digest = (self._have.generation, self._have.digest()) if self._have is not None else (-1, "")
        return f"/v1/nodes/{self._settings.name}/routes?after={generation}&digest={digest}&wait_s={WAIT_S}"

    def _take(self, data: bytes) -> None:
        """Publish a fetched document to the loops; raises PenstockError for one that must not be obeyed."""
        if not data:
            return
        try:
            document = read_routes(data)
            if self._have is not None and document.generation < self._have.generation:
                raise Conflict(
                    "older-generation",
                    f"control says generation {document.generation}, {self._have.generation} was served before",
                    hint=f"publish a greater generation, or stop the node and remove {self._settings.state}",
                )
        except PenstockError as error:
            self._refused = str(error)
            raise
        publish(self._settings.routes, canonical_json(document))
        self._have, self._refused = document, ""

    # ---- reporting

    def _report_forever(self) -> NoReturn:
        line = ControlLine(self._following, 10)
        told: Report | None = None
        due = 0.0
        failures = 0
        while True:
            threading.Event().wait(LOOK_S)
            report = self._report()
            if report is None or (report == told and monotonic() < due):
                continue
            try:
                line.request("POST", f"/v1/nodes/{self._settings.name}/report", msgspec.json.encode(report))
                told, due, failures = report, monotonic() + self._following.report_s, 0
            except _LOST:
                # Not logged: fetching fails for the same reason, and says so.
                failures += 1
                threading.Event().wait(pause_s(failures, random.random()))  # noqa: S311 - as above

    def _report(self) -> Report | None:
        settings, refused = self._settings, self._refused
        applied = read_applied(settings.state, settings.processes)
        if applied is None and not refused:
            return None
        applied = applied or Applied(generation=0, digest="")
        problems = {**applied.problems, **({"*": refused} if refused else {})}
        return Report(
            generation=applied.generation,
            digest=applied.digest,
            state="refused" if problems else "serving",
            problems=problems,
            address=self._following.advertise or settings.address,
            processes=settings.processes,
            ready=self._boards.all_ready(),
        )


def pause_s(failures: int, draw: float) -> float:
    """How long to wait before the next attempt: doubling up to 5 s, and spread, so that nodes do not come back at once.

    Example:
        >>> [pause_s(failures, 1.0) for failures in (1, 2, 3, 50)]
        [0.2, 0.4, 0.8, 5.0]
        >>> pause_s(50, 0.0)
        2.5
    """
    longest = min(_MOST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + draw / 2)


def publish(path: Path, data: bytes) -> None:
    """Replace a routes file by rename: no reader ever sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _newest(settings: NodeSettings) -> RouteDocument | None:
    """The newest document this node has taken, so that control sends it only what is newer."""
    found: list[RouteDocument] = []
    for path in (settings.routes, settings.state / "routes.json"):
        with contextlib.suppress(OSError, PenstockError):
            found.append(read_routes(path.read_bytes()))
    return max(found, key=lambda document: document.generation, default=None)
