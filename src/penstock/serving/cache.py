"""Answers kept for identical calls of one arm, and one run for identical calls in flight.

The key holds the whole inputs, so it is compared whole: a hash alone would one day give one caller another's answer.
The cache lives and dies with its arm: a new version never sees an old one's answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from penstock.core.calls import Call
from penstock.core.clock import Clock
from penstock.core.errors import DeadlineExceeded
from penstock.core.routes import Cache
from penstock.core.tensors import Tensors, to_bytes
from penstock.runtime.batcher import Pending

Key = tuple[object, ...]


class AnswerCache:
    """Least recently used answers within a number of bytes and an age."""

    def __init__(self, settings: Cache, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._bytes = 0
        self._answers: OrderedDict[Key, tuple[Tensors, float, int]] = OrderedDict()
        self._followers: dict[Key, list[Pending]] = {}

    async def answer(self, key: Key, call: Call, deadline: float, run: Callable[[], Pending]) -> tuple[Tensors, bool]:
        """The outputs for `call`, and whether they were kept; `run` asks the model, once for all that wait."""
        while True:
            kept = self._get(key)
            if kept is not None:
                return kept, True
            followers = self._followers.get(key)
            if followers is None:
                return await self._lead(key, run), False
            follower = Pending({}, call.rows, None, deadline)
            followers.append(follower)
            # Empty: the leader failed, perhaps only because its own deadline was shorter. Look again.
            if outputs := await follower:
                return outputs, True

    async def _lead(self, key: Key, run: Callable[[], Pending]) -> Tensors:
        followers: list[Pending] = []
        self._followers[key] = followers
        outputs: Tensors = {}
        try:
            outputs = await run()
            self._put(key, outputs)
            return outputs
        finally:
            del self._followers[key]
            for follower in followers:
                follower.finish(outputs)

    def expire(self) -> None:
        """Answer the followers whose own deadline has passed."""
        now = self._clock()
        for followers in self._followers.values():
            for follower in followers:
                if follower.deadline <= now:
                    follower.finish(
                        DeadlineExceeded("deadline-exceeded", "the deadline passed before the model answered")
                    )

    def _get(self, key: Key) -> Tensors | None:
        found = self._answers.get(key)
        if found is None:
            return None
        outputs, expires, _ = found
        if expires <= self._clock():
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return outputs

    def _put(self, key: Key, outputs: Tensors) -> None:
        size = 500 + sum(map(_size, key)) + sum(array.nbytes for array in outputs.values())
        if size > self._settings.max_bytes:
            return
        self._drop(key)
        # A copy: the arrays are slices of a whole batch, which would be kept alive behind them.
        kept = {name: array.copy() for name, array in outputs.items()}
        self._answers[key] = (kept, self._clock() + self._settings.ttl_s, size)
        self._bytes += size
        while self._bytes > self._settings.max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Key) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self._bytes -= found[2]


def cache_key(call: Call) -> Key:
    """Everything that an answer depends on within one arm: shapes, bytes of the inputs and parameters."""
    # Names, because inputs keep the order of the request; text, because to Python 1, 1.0 and true are equal.
    parameters = repr(sorted(call.parameters.items())) if call.parameters else ""
    return parameters, *((name, array.shape, to_bytes(array)) for name, array in sorted(call.inputs.items()))


def _size(part: object) -> int:
    return len(part[2]) if isinstance(part, tuple) else 64
