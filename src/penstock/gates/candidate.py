"""What gates look at: the candidate, the champion it would replace, and the endpoint it is meant for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from penstock.bundle.bundle import Bundle
from penstock.core.clock import monotonic
from penstock.core.errors import DeadlineExceeded
from penstock.core.routes import Limits
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.gates.served import ServedModel

if TYPE_CHECKING:
    from penstock.predlog.table_views import LogPlaces

# One call of a gate; a model that takes longer for at most 1 000 rows would not answer anybody.
CALL_LIMIT_S = 30.0
_RESTART_S = 60.0
_ROWS_AT_ONCE = 1000


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle whose model can be asked, until a moment on the monotonic clock."""

    bundle: Bundle
    served: ServedModel
    until: float = inf

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self.bundle.manifest.signature

    def answer(self, inputs: Tensors) -> Tensors:
        """The answers to one call, checked against the signature as a node checks it."""
        bound, _ = self.served.bind(inputs)
        return self.run(bound)

    def answer_rows(self, inputs: Tensors) -> Tensors:
        """The answers to any number of rows, in pieces; one by one where rows may not share a run."""
        bound, rows = self.served.bind(inputs)
        at_once = _ROWS_AT_ONCE if self.bundle.manifest.batching.allowed else 1
        parts = [
            self.run({name: array[at : at + at_once] for name, array in bound.items()})
            for at in range(0, rows, at_once)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def run(self, bound: Tensors) -> Tensors:
        """The answers to inputs that were bound."""
        left = self.left_s()
        return self.served.run(bound, min(CALL_LIMIT_S, left), min(_RESTART_S, left))

    def left_s(self) -> float:
        """Seconds that the gate may still take; raises DeadlineExceeded (`gate-timeout`) when there are none."""
        left = self.until - monotonic()
        if left <= 0:
            raise DeadlineExceeded("gate-timeout", "the gate took longer than it may", hint="allow more: timeout_s")
        return left


class Candidate(Subject, frozen=True, kw_only=True):
    """The bundle that would go out. `log` is where the endpoint's requests are recorded."""

    champion: Subject | None = None
    endpoint: str = ""
    limits: Limits = Limits()
    log: LogPlaces | None = None

    def within(self, seconds: float) -> Self:
        """The same candidate, to be asked for so long."""
        until = monotonic() + seconds
        champion = msgspec.structs.replace(self.champion, until=until) if self.champion is not None else None
        return msgspec.structs.replace(self, until=until, champion=champion)


@contextmanager
def open_candidate(
    bundle: Bundle,
    home: Path,
    *,
    champion: Bundle | None = None,
    endpoint: str = "",
    limits: Limits | None = None,
    log: LogPlaces | None = None,
    allow_pickle: bool = False,
) -> Iterator[Candidate]:
    """The candidate, with processes that end with this context. Nothing is loaded before a gate asks for it.

    `home` holds the environments of Python models. `allow_pickle` lets their processes open pickles that have a
    waiver, as it does on a node.
    """
    with ExitStack() as stack:
        served = stack.enter_context(ServedModel(bundle, home, allow_pickle=allow_pickle))
        other = None
        if champion is not None:
            model = stack.enter_context(ServedModel(champion, home, allow_pickle=allow_pickle))
            other = Subject(bundle=champion, served=model)
        yield Candidate(
            bundle=bundle, served=served, champion=other, endpoint=endpoint, limits=limits or Limits(),
            log=log,
        )  # fmt: skip
