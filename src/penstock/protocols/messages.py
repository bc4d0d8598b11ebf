"""Protobuf messages by their descriptors, in a pool of their own.

Code that protoc generates is tied to the runtime's version, and registers its messages for the whole process: a model
or a client that brings the same protocol would be refused. Descriptors do neither. docs/decisions/grpc-descriptors.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from penstock.core.errors import InvalidInput


def messages(descriptors: Path, package: str) -> Callable[[str], Any]:
    """A function from a message's name in `package` to its class; `descriptors` is a file of `make protobuf`."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
        pool.Add(file)
    return lambda name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def read(kind: Any, body: bytes) -> Any:
    """The message in `body`; raises InvalidInput (`invalid-message`)."""
    try:
        return kind.FromString(body)
    except DecodeError:
        raise InvalidInput("invalid-message", f"the bytes are no {kind.DESCRIPTOR.name}") from None
