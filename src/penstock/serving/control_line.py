"""A node's connection to control: one request at a time, kept open between them.

The standard library's client, not httpx: a node asks one question every 30 s, and need not hold a second HTTP stack in
its memory for that.
"""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from penstock.serving.settings import Following

_MOST_BYTES = 64 * 2**20


class Refusal(Exception):
    """Control answered, but not what was asked for."""


class _SocketConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect; raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ControlLine:
    """Requests to `following.control`, with its key, which is read again for each connection: keys are rotated."""

    def __init__(self, following: Following, timeout_s: float) -> None:
        self._following = following
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None
        self._headers: dict[str, str] = {}

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of a 2xx answer; raises OSError, HTTPException or Refusal, and then connects anew the next time."""
        fresh = self._connection is None
        try:
            return self._request(method, path, body)
        except (ConnectionError, HTTPException):
            self.close()
            if fresh:
                raise
        except (OSError, Refusal):
            self.close()
            raise
        # Control closed an idle connection while we used it: that says nothing about control.
        try:
            return self._request(method, path, body)
        except (OSError, HTTPException, Refusal):
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        if self._connection is None:
            self._connection, self._headers = self._connect(), self._fresh_headers()
        self._connection.request(method, self._base + path, body, self._headers)
        with self._connection.getresponse() as answer:
            data = answer.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise Refusal(f"control's answer is longer than {_MOST_BYTES} bytes")
            if not 200 <= answer.status < 300:
                raise Refusal(f"control answered {answer.status}: {data[:200].decode(errors='replace')}")
            return data

    @property
    def _base(self) -> str:
        parts = urlsplit(self._following.control)
        return "" if parts.scheme == "unix" else parts.path.rstrip("/")

    def _connect(self) -> HTTPConnection:
        parts = urlsplit(self._following.control)
        if parts.scheme == "unix":
            return _SocketConnection(parts.path, self._timeout_s)
        host = parts.hostname or "127.0.0.1"
        if parts.scheme == "https":
            return HTTPSConnection(host, parts.port, timeout=self._timeout_s, context=self._tls())
        return HTTPConnection(host, parts.port or 80, timeout=self._timeout_s)

    def _tls(self) -> ssl.SSLContext:
        authority = self._following.ca_file
        context = ssl.create_default_context(cafile=str(authority) if authority is not None else None)
        if self._following.cert_file is not None:
            context.load_cert_chain(self._following.cert_file, self._following.cert_key_file)
        return context

    def _fresh_headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "connection": "keep-alive"}
        if self._following.key_file is not None:
            headers["authorization"] = f"Bearer {self._following.key_file.read_text().strip()}"
        return headers
