"""Whom an answer sticks to, read from a request before it is decoded: which version decodes it depends on that.

Nothing is raised here. What cannot be read, is empty, or is longer than 256 bytes is nobody: such a call is drawn by
weight, and what is wrong with it the decoding will say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite, prod
from typing import Any

import msgspec
import numpy as np

from penstock.core.routes import Unit
from penstock.core.tensors import DTYPES

MOST_UNIT_BYTES = 256
_LENGTH_HEADER = b"inference-header-content-length"
# The first value of a tensor, however deep it is nested: the rest may be megabytes.
_FIRST = re.compile(rb'[\s\[]*("(?:[^"\\]|\\.)*"|[^\s"\[\],]+)')

ReadUnit = Callable[[Mapping[bytes, bytes], bytes, bool], str]
"""`read(headers, body, as_rows)`: the unit, "" for nobody."""


def unit_reader(unit: Unit) -> ReadUnit:
    """What reads such a unit.

    Example:
        >>> read = unit_reader(Unit(cookie="user"))
        >>> read({b"cookie": b"theme=dark; user=ann"}, b"", False)
        'ann'
        >>> unit_reader(Unit(field="customer"))({}, b'{"rows": [{"customer": 17, "age": 40.0}]}', True)
        '17'
    """
    if unit.header:
        header = unit.header.lower().encode()
        return lambda headers, body, as_rows: _text(headers.get(header, b""))
    if unit.cookie:
        cookie = unit.cookie.encode()
        return lambda headers, body, as_rows: _text(_cookie(headers.get(b"cookie", b""), cookie))
    return _Field(unit.field)


def _cookie(header: bytes, name: bytes) -> bytes:
    for pair in header.split(b";"):
        found, _, value = pair.partition(b"=")
        if found.strip() == name:
            return value.strip()
    return b""


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int] = []
    datatype: str = ""
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


class _Tensors(msgspec.Struct, gc=False):
    inputs: list[_Input]


class _Field:
    """Reads the first value of one input, from rows or tensors, in JSON or binary."""

    def __init__(self, name: str) -> None:
        self._name = name
        row: Any = msgspec.defstruct("Row", [("unit", msgspec.Raw, msgspec.Raw())], rename={"unit": name}, gc=False)
        rows: Any = list[row]
        self._rows = msgspec.json.Decoder(msgspec.defstruct("Rows", [("rows", rows)])).decode
        self._tensors = msgspec.json.Decoder(_Tensors).decode

    def __call__(self, headers: Mapping[bytes, bytes], body: bytes, as_rows: bool) -> str:
        try:
            raw = self._of_rows(body) if as_rows else self._of_tensors(body, headers.get(_LENGTH_HEADER))
            return _text(raw) if isinstance(raw, bytes) else _said(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return ""

    def _of_rows(self, body: bytes) -> Any:
        document: Any = self._rows(body)
        return _first(document.rows[0].unit) if document.rows else None

    def _of_tensors(self, body: bytes, length: bytes | None) -> Any:
        head, binary = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
        at = 0
        for tensor in self._tensors(head).inputs:
            size = (tensor.parameters or {}).get("binary_data_size")
            if tensor.name == self._name:
                return _first(tensor.data) if size is None else _first_binary(tensor, binary[at : at + int(size)])
            at += int(size or 0)
        return None


def _first(data: msgspec.Raw) -> Any:
    found = _FIRST.match(bytes(data))
    return None if found is None else msgspec.json.decode(found[1])


def _first_binary(tensor: _Input, data: bytes) -> Any:
    if tensor.datatype == "BYTES":
        return data[4 : 4 + int.from_bytes(data[:4], "little")]
    dtype = DTYPES[tensor.datatype].newbyteorder("<")
    # Of FP32 the digits that FP32 has: 0.1 is 0.1 in every form of the request.
    return np.frombuffer(data, dtype, count=1)[0] if prod(tensor.shape) else None


def _said(value: Any) -> str:
    """A number or truth as text, the same in every form of a request: 17, 17.0 and an INT64 of 17 are one unit."""
    if isinstance(value, str):
        return value if 0 < len(value.encode()) <= MOST_UNIT_BYTES else ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating) and isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    return ""


def _text(value: bytes) -> str:
    if len(value) > MOST_UNIT_BYTES:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""
