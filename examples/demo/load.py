"""A closed-loop load from one thread: each connection sends its next request when the last one is answered."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Result:
    """What the clients saw."""

    answers: int = 0
    errors: int = 0
    seconds: float = 0.0
    versions: set[str] = field(default_factory=set)
    latencies_s: list[float] = field(default_factory=list)

    def summary(self) -> str:
        """Rate and percentiles in one line."""
        ordered = sorted(self.latencies_s)
        p50, p99 = (1e3 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        return f"{self.answers / self.seconds:8.0f} answers/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {self.errors} errors"


class Load:
    """Calls `path` from `connections` connections until the `with` block ends."""

    def __init__(self, port: int, path: str, body: bytes, connections: int) -> None:
        self.result = Result()
        self._port = port
        self._connections = connections
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        began = time.monotonic()
        await asyncio.gather(*(self._client() for _ in range(self._connections)))
        self.result.seconds = time.monotonic() - began

    async def _client(self) -> None:
        result = self.result
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
            except (OSError, asyncio.IncompleteReadError):
                result.errors += 1
                break
            result.latencies_s.append(time.monotonic() - began)
            version = re.search(rb"penstock-version: (\S+)", head)
            if head.startswith(b"HTTP/1.1 200") and version:
                result.answers += 1
                result.versions.add(version[1].decode())
            else:
                result.errors += 1
        writer.close()
