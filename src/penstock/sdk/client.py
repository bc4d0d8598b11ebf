"""The client for ordinary programs and threads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.core.clock import Clock, monotonic
from penstock.core.tensors import Tensors
from penstock.sdk.calls import Calls, Terms, Tracing
from penstock.sdk.encode import Parameters
from penstock.sdk.http import incoming, lost, open_client, request_of
from penstock.sdk.messages import Conversation, Heard, Incoming, Lost, Pause, Send
from penstock.sdk.prediction import Prediction
from penstock.sdk.security import Certificate, Verify, security_of

T = TypeVar("T")


class Client:
    """A connection to one node; safe to share among threads, cheap to keep, closed by `with` or `close`.

    `timeout_s` bounds every call as a whole, retries included, and the node is told, so that it drops what nobody
    waits for any more. `retries` is how often a call may be sent again: after a connection that was refused, or lost
    before an answer began, after 429 (not before its Retry-After) and after 503, unless the node says that the model's
    process died on this very call. Sending twice is safe because a model's answer is a function of its inputs and
    changes nothing; other failures are not sent again, because they would only fail again. Nothing is sent after the
    deadline.

    `key` is the API key (default: the environment's PENSTOCK_KEY); it is sent to `url` and nowhere else. With https,
    `verify` names the authorities to believe where they are not the usual ones, and `cert` is a certificate of your own
    (one file, or it and its key) for a node that asks for one.

    Hand in an `httpx.Client` of your own for proxies, or other ways to prove who you are; it stays yours to close.
    `clock`, `draw` and `sleep` are where time and chance come from.

    Example:
        >>> from penstock import Client                                                   # doctest: +SKIP
        >>> with Client("http://127.0.0.1:8080") as client:                               # doctest: +SKIP
        ...     client.predict("churn", [{"age": 31, "city": "Oslo"}]).predictions
        ['no']
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        verify: Verify = True,
        cert: Certificate | None = None,
        timeout_s: float = 10.0,
        retries: int = 2,
        http: httpx.Client | None = None,
        clock: Clock = monotonic,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._calls = Calls(url, Terms(timeout_s, retries, clock, draw))
        self._own = http is None
        security = security_of(key, verify, cert, own=self._own)
        self._http = http if http is not None else open_client(self._calls.address, security)
        self._clock = clock
        self._sleep = sleep

    def predict(
        self,
        endpoint: str,
        data: Any,
        *,
        version: str | None = None,
        timeout_s: float | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's own word
        traceparent: str | None = None,
    ) -> Prediction:
        """Ask a model about rows.

        `data` is a list of dicts (one per row), a data frame (pandas or polars: one input per column), a numpy array
        (the matrix `x` of a model packed from an array), or a dict of arrays (one per input). `version` pins one that
        an arm of the endpoint holds: `7`, `churn/7` or the first digits of a bundle's digest. `id` names the call in
        the node's log; `traceparent` ties it to a trace (W3C Trace Context).

        Raises InvalidInput for data the model does not take, NotFound, Overloaded, DeadlineExceeded, Unavailable
        (`unreachable` when no node answers), ModelFailed.
        """
        return self._run(self._calls.predict(endpoint, data, version, timeout_s, Tracing(id, traceparent)))

    def infer(
        self,
        endpoint: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        parameters: Parameters | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's own word
        *,
        version: str | None = None,
        timeout_s: float | None = None,
        traceparent: str | None = None,
    ) -> Tensors:
        """The Open Inference Protocol as it is: named arrays in, named read-only arrays out.

        `outputs` names those wanted (default: all). Text is an array of `str`. Raises what `predict` raises.
        """
        tracing = Tracing(id, traceparent)
        return self._run(self._calls.infer(endpoint, inputs, outputs, parameters, version, timeout_s, tracing))

    def models(self) -> list[str]:
        """The names of the endpoints."""
        return self._run(self._calls.models())

    def metadata(self, endpoint: str, *, version: str | None = None) -> dict[str, Any]:
        """What an endpoint's model takes and gives: `inputs`, `outputs`, `versions`, `classes`."""
        return self._run(self._calls.metadata(endpoint, version))

    def ready(self) -> bool:
        """Whether the node answers and all it serves is loaded; False, not an exception, when it is not there."""
        return self._run(self._calls.health("/v2/health/ready"))

    def live(self) -> bool:
        """Whether the node answers at all."""
        return self._run(self._calls.health("/v2/health/live"))

    def close(self) -> None:
        """Close the connections, unless they belong to an `httpx.Client` that was handed in."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, conversation: Conversation[T]) -> T:
        heard: Heard = None
        while True:
            try:
                step = conversation.send(heard)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Pause):
                self._sleep(step.seconds)
                heard = None
            else:
                heard = self._send(step)

    def _send(self, send: Send) -> Incoming | Lost:
        deadline = self._clock() + send.timeout_s
        try:
            response = self._http.send(request_of(self._http, self._calls.address, send), stream=True)
        except httpx.RequestError as error:
            return lost(error, answering=False)
        parts = []
        try:
            # httpx bounds the wait for each piece; a server that sends a byte now and then would never be cut off.
            for part in response.iter_bytes():
                parts.append(part)
                if self._clock() >= deadline:
                    return Lost("timeout", "the answer was still arriving")
            return incoming(response, b"".join(parts))
        except httpx.RequestError as error:
            return lost(error, answering=True)
        finally:
            response.close()
