"""The first value of an input in a request of this contract, read before anything is decoded."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from penstock.core.signature import Signature
from penstock.protocols.form import FirstReader, Headers
from penstock.protocols.tfserving.json_text import read_object
from penstock.protocols.unit import first_of


class _Body(msgspec.Struct, gc=False):
    instances: list[msgspec.Raw] | None = None
    inputs: msgspec.Raw = msgspec.Raw()
    examples: list[msgspec.Raw] | None = None
    context: dict[str, msgspec.Raw] = {}


class _Binary(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    b64: str


_decode = msgspec.json.Decoder(_Body).decode
_named = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_binary = msgspec.json.Decoder(_Binary).decode


def first_reader(name: str, signature: Signature) -> FirstReader:
    """A reader of the first value of input `name`. A bare value is the only input's, whatever its name."""

    def read(body: bytes, headers: Headers) -> Any:
        try:
            document = _decode(body)
        except msgspec.DecodeError:
            # With bare tokens for what is not finite.
            document = _decode(msgspec.json.encode(read_object(body)))
        if name in document.context:
            return _value(bytes(document.context[name]))
        rows = document.instances or document.examples
        data = bytes(rows[0] if rows else document.inputs)
        if data.startswith(b"{"):
            fields = _named(data)
            data = bytes(fields[name]) if name in fields else data
        return _value(data)

    return read


def _value(data: bytes) -> Any:
    inner = data.lstrip(b" \t\r\n[")
    if inner.startswith(b"{"):
        # Of a tensor in base64 the first element alone.
        return base64.b64decode(_binary(inner[: inner.index(b"}") + 1]).b64)
    return first_of(data)
