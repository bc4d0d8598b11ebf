"""The doors of a node behind one call, so that each test of what an answer must be runs against both."""

import asyncio
import json
import threading

from penstock.serving.asgi import Application


class NodeDoor:
    """Our own server, over a real socket."""

    def __init__(self, node):
        self.node = node

    def call(self, method, path, body=b"", headers=None):
        """(status, headers, body)."""
        return self.node.request(method, path, body, headers or {})


class AsgiDoor:
    """The ASGI application, called in this process on an event loop of its own."""

    def __init__(self, settings, log):
        self._log = log.open("wb")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._application = Application(settings, self._log.fileno())
        self._events = asyncio.Queue()
        self.parts_read = 0
        self._told = asyncio.Queue()
        self._life = asyncio.run_coroutine_threadsafe(
            self._application({"type": "lifespan"}, self._events.get, self._told.put), self._loop
        )
        self._tell("lifespan.startup")

    def _tell(self, event):
        async def tell():
            await self._events.put({"type": event})
            return await self._told.get()

        assert asyncio.run_coroutine_threadsafe(tell(), self._loop).result(60)["type"] == event + ".complete"

    def call(self, method, path, body=b"", headers=None):
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": raw, "raw_path": raw.encode("latin-1"),
            "query_string": query.encode(), "client": ("127.0.0.1", 5),
            "headers": [(name.lower().encode(), str(value).encode()) for name, value in (headers or {}).items()],
        }  # fmt: skip
        # In two parts, as servers hand on what they read.
        parts = [{"type": "http.request", "body": part, "more_body": more} for part, more in
                 ((body[: len(body) // 2], True), (body[len(body) // 2 :], False))]  # fmt: skip
        sent = []

        async def receive():
            self.parts_read += 1
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run_coroutine_threadsafe(self._application(scope, receive, send), self._loop).result(60)
        start, end = sent
        return start["status"], {k.decode(): v.decode("latin-1") for k, v in start["headers"]}, end["body"]

    def close(self):
        self._tell("lifespan.shutdown")
        self._life.result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._log.close()


def infer(door, endpoint, document, headers=None):
    """(status, headers, decoded body) of an infer request."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    status, got, answer = door.call("POST", f"/v2/models/{endpoint}/infer", body, headers)
    return status, got, json.loads(answer)
