"""One RPC as the flow sees it: metadata as headers, its deadline as the call's, and a reply as message or status."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import unquote

from penstock.core.errors import InvalidInput
from penstock.serving.access import HEADERS
from penstock.serving.grpc.library import grpc
from penstock.serving.http.message import Reply, Request

Context = Any
"""A `grpc.aio.ServicerContext`; the library comes without types."""

# gRPC has its own compression; a message that these would change could not be read.
_OF_HTTP = frozenset({b"content-encoding", b"accept-encoding"})
_TIMEOUT = b"penstock-timeout-ms"
_LONGEST_MS = 10**9 - 1
_STATUSES: dict[int, grpc.StatusCode] = {status.value[0]: status for status in grpc.StatusCode}


def request_of(method: bytes, context: Context, arrived: float) -> Request:
    """The request without its body; raises InvalidInput for a header that must not stand twice."""
    headers: dict[bytes, bytes] = {}
    for key, value in context.invocation_metadata():
        name = key.encode()
        if name in headers and name in HEADERS:
            raise InvalidInput("conflicting-headers", f"the metadata {key} is sent twice")
        if name not in _OF_HTTP:
            headers[name] = value if isinstance(value, bytes) else value.encode()
    remaining_s = context.time_remaining()
    if remaining_s is not None:
        milliseconds = max(0, min(int(remaining_s * 1e3), _LONGEST_MS))
        given = headers.get(_TIMEOUT)
        # What is no number is left for the flow to refuse.
        if given is None or (given.isdigit() and len(given) < 10 and int(given) > milliseconds):
            headers[_TIMEOUT] = b"%d" % milliseconds
    return Request(b"POST", method, headers, b"", arrived, peer_of(context.peer()))


def peer_of(peer: str) -> str:
    """The address in gRPC's name of a peer.

    Example:
        >>> peer_of("ipv4:127.0.0.1:50312"), peer_of("ipv6:%5B::1%5D:50312")
        ('127.0.0.1', '::1')
    """
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return unquote(rest.rpartition(":")[0]).strip("[]")


async def answered(reply: Reply, context: Context) -> bytes:
    """The message of a reply, its header lines as trailing metadata; a failure ends the RPC here with its status."""
    metadata, status = _metadata(reply.headers)
    if status:
        await refused(context, status, reply.body.decode(), metadata)
    context.set_trailing_metadata(metadata)
    return reply.body


async def refused(context: Context, status: int, text: str, metadata: tuple[tuple[str, str], ...] = ()) -> NoReturn:
    """End the RPC with a status."""
    await context.abort(_STATUSES[status], text, metadata)
    raise AssertionError("abort raises")


def _metadata(headers: bytes) -> tuple[tuple[tuple[str, str], ...], int]:
    """Header lines as metadata, and the gRPC status among them: 0 where there is none."""
    pairs, status = [], 0
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"grpc-status":
            status = int(value)
        elif name:
            # Metadata is printable ASCII; what callers sent to be sent back may be anything.
            pairs.append((name.decode(), value.decode("ascii", "backslashreplace")))
    return tuple(pairs), status
