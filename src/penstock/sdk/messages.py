"""What the pure core tells a shell to do, and what it hears back. The shells know nothing else."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")
# The header that says how many bytes of a body are JSON, when raw tensors follow (binary tensor data extension).
JSON_LENGTH = "inference-header-content-length"


class Outgoing(msgspec.Struct, frozen=True):
    """One request; `path` is quoted and starts with `/`."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Send(msgspec.Struct, frozen=True):
    """Send the request and wait for its answer, at most `timeout_s`."""

    outgoing: Outgoing
    timeout_s: float


class Pause(msgspec.Struct, frozen=True):
    """Wait before the next attempt."""

    seconds: float


class Incoming(msgspec.Struct, frozen=True):
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(msgspec.Struct, frozen=True):
    """No whole answer came: not connected, connection lost before or in the middle of the answer, or time is up."""

    stage: Literal["connect", "before-answer", "in-answer", "timeout"]
    reason: str


Step = Send | Pause
Heard = Incoming | Lost | None
Conversation = Generator[Step, Heard, T]
"""Yields steps, is sent what was heard (None after a pause), returns the result or raises a PenstockError."""
