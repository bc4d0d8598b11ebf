"""Messages in the body of an RPC: each after a byte that says whether it is compressed, and four of its length."""

from __future__ import annotations

from collections.abc import Callable

from penstock.core.errors import InvalidInput, TooLarge, UnsupportedMedia
from penstock.protocols.encodings import undone

PREFIX_BYTES = 5
# Whether it is compressed, and its bytes.
Prefixed = tuple[int, bytes]
_ENCODINGS = (b"gzip", b"deflate")


class Reader:
    """Takes a body in any pieces and gives its messages. `largest` tells how many bytes one may have."""

    __slots__ = ("_buffer", "_encoding", "_largest", "_whole")

    def __init__(self, encoding: bytes, largest: Callable[[], int]) -> None:
        self._encoding = encoding
        self._largest = largest
        self._buffer = bytearray()
        self._whole = b""

    def push(self, data: bytes) -> None:
        """Take the next bytes."""
        # As nearly always: one message, whole, and nothing before it.
        if not self.pending and len(data) >= PREFIX_BYTES and int.from_bytes(data[1:5]) == len(data) - PREFIX_BYTES:
            self._whole = data
        else:
            if self._whole:
                self._buffer += self._whole
                self._whole = b""
            self._buffer += data

    @property
    def pending(self) -> bool:
        """Whether there are bytes that were not given as a message."""
        return bool(self._whole or self._buffer)

    @property
    def ready(self) -> bool:
        """Whether a whole message is here."""
        return bool(self._whole) or (len(self._buffer) >= PREFIX_BYTES and not self.missing)

    @property
    def missing(self) -> int:
        """How many bytes the message that has begun still lacks."""
        buffer = self._buffer
        if not buffer:
            return 0
        if len(buffer) < PREFIX_BYTES:
            return PREFIX_BYTES - len(buffer)
        return max(0, PREFIX_BYTES + int.from_bytes(buffer[1:5]) - len(buffer))

    def next(self) -> Prefixed | None:
        """The next message if it is there; raises TooLarge."""
        if self._whole:
            whole, self._whole = self._whole, b""
            return whole[0], whole[PREFIX_BYTES:]
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return None
        end = PREFIX_BYTES + int.from_bytes(buffer[1:5])
        if end - PREFIX_BYTES > self._largest():
            # Known before it comes: nobody makes the node hold what no endpoint takes.
            raise TooLarge("body-too-large", f"the message is larger than the {self._largest()} bytes of any endpoint")
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = bytes(view[PREFIX_BYTES:end])
        flag = buffer[0]
        del buffer[:end]
        return flag, message

    def plain(self, prefixed: Prefixed) -> bytes:
        """A message uncompressed; raises InvalidInput, TooLarge, UnsupportedMedia.

        Only when its call begins: a message that waits must not be larger than what was counted when it came.
        """
        flag, message = prefixed
        if flag == 0:
            return message
        if flag != 1 or self._encoding in (b"", b"identity"):
            raise InvalidInput(
                "invalid-encoding", "the message is marked as compressed, but grpc-encoding names nothing"
            )
        if self._encoding not in _ENCODINGS:
            name = self._encoding.decode("latin-1")[:60]
            raise UnsupportedMedia(
                "unsupported-encoding", f"grpc-encoding is {name!r}", hint="send gzip, deflate or identity"
            )
        return undone(message, self._encoding, self._largest())
