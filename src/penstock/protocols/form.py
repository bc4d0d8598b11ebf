"""What a contract is to the node: how its calls are read, and how its answers and failures are written.

A door reads bytes and headers; which contract they are in follows from the address. Everything between `decode` and
`encode` is the same for all contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from penstock.core.calls import Call
from penstock.core.errors import PenstockError
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors

Headers = Mapping[bytes, bytes]
NO_HEADERS: Headers = {}


class ModelView(msgspec.Struct, frozen=True, gc=False):
    """What a codec knows of the version that it speaks for.

    `version` is without the model's name; with `text_only` a BYTES input that is not UTF-8 is refused.
    """

    endpoint: str
    version: str
    signature: Signature
    text_only: bool = True


class Codec(Protocol):
    """Reads calls to one version and writes its answers."""

    def decode(self, body: bytes, headers: Headers) -> Call:
        """The call in a request whose header names are lower case; raises PenstockError."""

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The body of the answer, and the header lines that say what it is, each ended by CR LF."""


Failure = Callable[[PenstockError], tuple[int, bytes, bytes]]
"""From a failure to status, header lines and body."""

FirstReader = Callable[[bytes, Headers], Any]
"""Reads the first value of one input, as text, bytes, number or truth, or lists around it; raises or gives None where
it cannot."""


class Form(msgspec.Struct, frozen=True, gc=False):
    """One contract's way to call a model.

    `first` makes a reader of the first value of an input of a signature: units are told by it before anything is
    decoded. With `names_calls` a call without an id gets the request's. `echoed` are headers of the request that stand
    in the answer as they came. `model_of` reads the endpoint's name from a body, where the address has none;
    it raises InvalidInput for a body that cannot be read.
    """

    name: str
    codec: Callable[[ModelView], Codec]
    failure: Failure
    first: Callable[[str, Signature], FirstReader]
    names_calls: bool = False
    echoed: tuple[bytes, ...] = ()
    model_of: Callable[[bytes], str] | None = None
