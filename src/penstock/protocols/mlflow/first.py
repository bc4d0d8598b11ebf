"""The first value of one input in a call to `/invocations`, before anything is decoded: units are told by it.

It is found by what decodes whole calls, given no more than the first row: so a value without a name is the same
input's, and text in CSV the same number, as for the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from penstock.core.calls import Call
from penstock.core.signature import Signature
from penstock.protocols.form import Codec, FirstReader, Headers, ModelView
from penstock.protocols.json_rows import Bound, RowReader
from penstock.protocols.media import CSV_TYPE, JSON_TYPE, content_of
from penstock.protocols.mlflow.invocations import InvocationsCodec
from penstock.protocols.oip.form import INFER
from penstock.protocols.oip.infer import LENGTH_HEADER
from penstock.protocols.rows import ROWS

# The header and a row; a quoted field may have line feeds in it. Possessive: a record of megabytes needs no memory.
_TWO_RECORDS = re.compile(rb'(?:(?:[^"\n]++|"[^"]*+"?+)*+\n?){2}')


class FirstRow(RowReader):
    """Reads one input's values in the first row, and nothing else."""

    def __init__(self, name: str, signature: Signature) -> None:
        super().__init__(signature)
        self._name = name

    def rows(self, rows: Any) -> Bound:
        """See `RowReader.rows`."""
        return super().rows(rows[:1])

    def table(self, columns: Sequence[Any] | None, rows: Any) -> Bound:
        """See `RowReader.table`."""
        return super().table(columns, rows[:1])

    def _bound(self, columns: dict[str, Any]) -> Bound:
        values = columns[self._name]
        return {self._name: self._readers[self._name].read(values[:1] if self.batched else values)}, 1


def first_reader(name: str, signature: Signature, *, azure: bool = False) -> FirstReader:
    """What reads the input `name`; raises as the decoding of the call would."""
    codec = _FirstCodec(name, signature, azure=azure)

    def read(body: bytes, headers: Headers) -> Any:
        content, _ = content_of(headers.get(b"content-type"))
        if content != JSON_TYPE and LENGTH_HEADER not in headers:
            found = _TWO_RECORDS.match(body) if content == CSV_TYPE else None
            body = body.lstrip().partition(b"\n")[0] if found is None else found[0]
        return first_element(codec.decode(body, headers).inputs[name])

    return read


def first_element(values: Any) -> Any:
    """The first element of an array, or what is none."""
    return values.ravel()[0] if isinstance(values, np.ndarray) else values


class _FirstCodec(InvocationsCodec):
    """Reads a call no further than to that value."""

    def __init__(self, name: str, signature: Signature, *, azure: bool) -> None:
        super().__init__(ModelView("", "", signature), azure=azure, reader=FirstRow(name, signature))
        self._name = name
        self._firsts = {form.name: form.first(name, signature) for form in (ROWS, INFER)}

    def _other(self, codec: Codec, form: Literal["rows", "infer"], body: bytes, headers: Headers, kind: str) -> Call:
        return Call({self._name: self._firsts[form](body, headers)}, 1)
