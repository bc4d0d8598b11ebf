"""Whom an answer sticks to, read from a request before it is decoded: which version decodes it depends on that.

Nothing is raised here. What cannot be read, is empty, or is longer than 256 bytes is nobody: such a call is drawn by
weight, and what is wrong with it the decoding will say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import PenstockError
from penstock.core.routes import Unit
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.protocols.form import FirstReader, Form, Headers

MOST_UNIT_BYTES = 256
# The first value of a tensor, however deep it is nested: the rest may be megabytes.
_FIRST = re.compile(rb'[\s\[]*("(?:[^"\\]|\\.)*"|[^\s"\[\],]+)')

ReadUnit = Callable[[Headers, bytes, Form], str]
"""`read(headers, body, form)`: the unit, "" for nobody."""


def unit_reader(unit: Unit, signatures: Iterable[Signature] = ()) -> ReadUnit:
    """What reads such a unit. The first of the `signatures` that has the unit's field says of which datatype it is.

    Example:
        >>> from penstock.protocols.rows import ROWS
        >>> read = unit_reader(Unit(cookie="user"))
        >>> read({b"cookie": b"theme=dark; user=ann"}, b"", ROWS)
        'ann'
        >>> customer = Field(name="customer", datatype="INT64", shape=(-1,))
        >>> signature = Signature(inputs=(customer,), outputs=(), layout="table")
        >>> unit_reader(Unit(field="customer"), [signature])({}, b'{"rows": [{"customer": 17}]}', ROWS)
        '17'
    """
    if unit.header:
        header = unit.header.lower().encode()
        return lambda headers, body, form: _text(headers.get(header, b""))
    if unit.cookie:
        cookie = unit.cookie.encode()
        return lambda headers, body, form: _text(_cookie(headers.get(b"cookie", b""), cookie))
    for signature in signatures:
        for field in signature.inputs:
            if field.name == unit.field:
                return _FieldReader(field, signature)
    return lambda headers, body, form: ""


def first_of(data: bytes) -> Any:
    """The first value in the JSON text of a tensor, None if there is none."""
    found = _FIRST.match(bytes(data))
    return None if found is None else msgspec.json.decode(found[1])


def _cookie(header: bytes, name: bytes) -> bytes:
    for pair in header.split(b";"):
        found, _, value = pair.partition(b"=")
        if found.strip() == name:
            return value.strip()
    return b""


class _FieldReader:
    """Reads the first value of one input, whichever contract the call is in."""

    def __init__(self, field: Field, signature: Signature) -> None:
        self._field = field
        self._signature = signature
        self._dtype = DTYPES[field.datatype]
        self._readers: dict[str, FirstReader] = {}

    def __call__(self, headers: Headers, body: bytes, form: Form) -> str:
        read = self._readers.get(form.name)
        if read is None:
            read = self._readers[form.name] = form.first(self._field.name, self._signature)
        try:
            value = read(body, headers)
            while type(value) is list:
                value = value[0]
            return _text(value) if isinstance(value, bytes) else _said(self._typed(value))
        except (PenstockError, msgspec.MsgspecError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            return ""

    def _typed(self, value: Any) -> Any:
        """A number as the model will get it: what JSON has as 0.1 and a tensor as the FP32 of it is one unit."""
        if self._dtype.kind not in "fb" or not isinstance(value, int | float | np.number):
            return value
        with np.errstate(over="ignore"):
            return self._dtype.type(value)


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
