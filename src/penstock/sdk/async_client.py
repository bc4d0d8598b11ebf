"""The client for programs that run on asyncio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.core.clock import Clock, monotonic
from penstock.core.tensors import Tensors
from penstock.sdk.calls import Calls, Terms, Tracing
from penstock.sdk.encode import Parameters
from penstock.sdk.http import incoming, lost, open_async_client, request_of
from penstock.sdk.messages import Conversation, Heard, Incoming, Lost, Pause, Send
from penstock.sdk.prediction import Prediction
from penstock.sdk.security import Certificate, Verify, security_of

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited; closed by `async with` or `close`.

    What it retries and why, and its arguments, are those of `Client`; `http` is an `httpx.AsyncClient`. One client
    serves any number of tasks of one event loop, over at most 100 connections.

    Example:
        >>> import asyncio, penstock                                                      # doctest: +SKIP
        >>> async def main():                                                             # doctest: +SKIP
        ...     async with penstock.AsyncClient("http://127.0.0.1:8080") as client:
        ...         return await client.predict("churn", [{"age": 31, "city": "Oslo"}])
        >>> asyncio.run(main()).predictions                                               # doctest: +SKIP
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
        http: httpx.AsyncClient | None = None,
        clock: Clock = monotonic,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._calls = Calls(url, Terms(timeout_s, retries, clock, draw))
        self._own = http is None
        security = security_of(key, verify, cert, own=self._own)
        self._http = http if http is not None else open_async_client(self._calls.address, security)
        self._sleep = sleep

    async def predict(
        self,
        endpoint: str,
        data: Any,
        *,
        version: str | None = None,
        timeout_s: float | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's own word
        traceparent: str | None = None,
    ) -> Prediction:
        """Ask a model about rows; see `Client.predict`."""
        return await self._run(self._calls.predict(endpoint, data, version, timeout_s, Tracing(id, traceparent)))

    async def infer(
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
        """Named arrays in, named read-only arrays out; see `Client.infer`."""
        tracing = Tracing(id, traceparent)
        return await self._run(self._calls.infer(endpoint, inputs, outputs, parameters, version, timeout_s, tracing))

    async def models(self) -> list[str]:
        """The names of the endpoints."""
        return await self._run(self._calls.models())

    async def metadata(self, endpoint: str, *, version: str | None = None) -> dict[str, Any]:
        """What an endpoint's model takes and gives: `inputs`, `outputs`, `versions`, `classes`."""
        return await self._run(self._calls.metadata(endpoint, version))

    async def ready(self) -> bool:
        """Whether the node answers and all it serves is loaded; False, not an exception, when it is not there."""
        return await self._run(self._calls.health("/v2/health/ready"))

    async def live(self) -> bool:
        """Whether the node answers at all."""
        return await self._run(self._calls.health("/v2/health/live"))

    async def close(self) -> None:
        """Close the connections, unless they belong to an `httpx.AsyncClient` that was handed in."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, conversation: Conversation[T]) -> T:
        heard: Heard = None
        while True:
            try:
                step = conversation.send(heard)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
                heard = None
            else:
                heard = await self._send(step)

    async def _send(self, send: Send) -> Incoming | Lost:
        try:
            async with asyncio.timeout(send.timeout_s):
                return await self._exchange(send)
        except TimeoutError:
            return Lost("timeout", "no whole answer")

    async def _exchange(self, send: Send) -> Incoming | Lost:
        try:
            response = await self._http.send(request_of(self._http, self._calls.address, send), stream=True)
        except httpx.RequestError as error:
            return lost(error, answering=False)
        try:
            return incoming(response, await response.aread())
        except httpx.RequestError as error:
            return lost(error, answering=True)
        finally:
            await response.aclose()
