"""What the flow sees of its node: the addresses of the current routes, the clock, the log and the counters."""

from __future__ import annotations

import os
import random
import re
import traceback
from collections.abc import Callable, Mapping

from penstock.core.clock import Clock
from penstock.core.errors import Unavailable
from penstock.core.routes import Endpoint
from penstock.protocols.address import ModelAddress
from penstock.serving.access import AccessTable, Caller
from penstock.serving.addresses import NO_ALIASES, Addresses, parse
from penstock.serving.arms import ServedArm, ServedEndpoint
from penstock.serving.board import LOGS_DROPPED, RUNNING_ROWS, WAITING_ROWS, Board, Boards
from penstock.serving.contracts import named_by_body
from penstock.serving.held_back import Models
from penstock.serving.http.message import Request
from penstock.serving.log import Log
from penstock.serving.repository import Repository

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class NodeState:
    """One process's view of the node. `addresses` is the one reference that a swap replaces, `access` another.

    `wanted` are the endpoints of the document that is obeyed or being loaded, `retiring` what is being freed.
    """

    def __init__(
        self,
        board: Board,
        boards: Boards,
        log: Log,
        clock: Clock,
        draw: Callable[[], float] = random.random,
        held_back: Callable[[], Models] = dict,
    ) -> None:
        self.board = board
        self.boards = boards
        self.log = log
        self.clock = clock
        self.draw = draw
        self.addresses = Addresses({}, log)
        self.access: AccessTable | None = None
        self.problems: dict[str, str] = {}
        self.repository: Repository | None = None
        self.wanted: Mapping[str, Endpoint] = {}
        self.retiring: set[ServedArm] = set()
        self.held_back = held_back
        self.aliases: Mapping[str, str] = NO_ALIASES
        # Until its first routes are loaded, where it listens already.
        self.starting = False
        self._id_prefix = os.urandom(6).hex()
        self._id_count = 0

    def check_head(self, url: bytes, headers: Mapping[bytes, bytes], peer: str) -> None:
        """Raise as `find.find` and a call would, before the body is read: nobody without a key makes the node hold one.

        Pages are open, but they take no body: who sends one all the same needs a key, too.
        """
        access = self.access
        if access is not None:
            address = parse(url, self.aliases)
            caller = access.identify(headers, peer)
            if isinstance(address, ModelAddress) and not named_by_body(address):
                access.look(headers, self.addresses.name(address, caller), peer)

    def ready(self) -> bool:
        """Whether every process of the node has its routes, and something is served or nothing should be."""
        return self.boards.all_ready() and not (self.problems and not self.addresses.endpoints)

    def unloaded(self, name: str) -> bool:
        """Whether a caller unloaded that endpoint."""
        return self.repository is not None and self.repository.unloaded(name)

    def not_loaded(self, name: str) -> str | None:
        """Why an endpoint that should be known here is not served; None if it is served, or not known."""
        if name in self.addresses.endpoints:
            return None
        if self.unloaded(name):
            return "it was unloaded"
        return self.problems.get(name, "it is being loaded" if name in self.addresses.known else None)

    def endpoint(self, name: str, caller: Caller | None = None) -> ServedEndpoint:
        """The endpoint of that name; raises Unavailable (`endpoint-not-loaded`), which says why, and NotFound."""
        problem = self.not_loaded(name)
        if problem is not None:
            raise Unavailable("endpoint-not-loaded", f"{name} is not loaded: {problem}")
        return self.addresses.endpoint(name, caller)

    def request_id(self, request: Request) -> str:
        """The caller's `x-request-id` if it is safe to log and send back, else a new one, unique on this node."""
        given = request.headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count:08x}"

    def waiting(self) -> bool:
        """Whether any call waits for a model on this event loop."""
        endpoints = self.addresses.endpoints.values()
        return any(arm.batcher.waiting_rows for endpoint in endpoints for arm in endpoint.arms)

    def publish_gauges(self) -> None:
        """Tell the node's other processes what waits here, and learn what waits there; called by a timer."""
        cells = self.board.cells
        for endpoint in self.addresses.endpoints.values():
            for arm in endpoint.arms:
                cells[arm.series + WAITING_ROWS] = arm.batcher.waiting_rows
                cells[arm.series + RUNNING_ROWS] = arm.batcher.running_rows
                arm.elsewhere_rows = self.boards.others(arm.labels, self.board, (WAITING_ROWS, RUNNING_ROWS))
        cells[LOGS_DROPPED] = self.log.dropped

    def report(self, error: Exception, request_id: str) -> None:
        """Log a defect of ours with its trace."""
        trace = "".join(traceback.format_exception(error))
        self.log.event("internal-error", id=request_id, error=repr(error)[:300], trace=trace[-4000:])
