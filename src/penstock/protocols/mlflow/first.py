"""The first value of one input in a call to `/invocations`, before anything is decoded: units are told by it."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.errors import PenstockError
from penstock.protocols.csv_text import read_csv
from penstock.protocols.form import FirstReader, Headers
from penstock.protocols.media import CSV_TYPE, JSON_TYPE, content_of
from penstock.protocols.oip.form import INFER
from penstock.protocols.oip.infer import LENGTH_HEADER

_KEYS = ("rows", "dataframe_records", "instances", "dataframe_split", "inputs", "input_data", "data")


def first_reader(name: str) -> FirstReader:
    """What reads the input `name`. Values without names are nobody's, and so is what cannot be read."""
    infer = INFER.first(name)

    def read(body: bytes, headers: Headers) -> Any:
        if LENGTH_HEADER in headers:
            return infer(body, headers)
        content, _ = content_of(headers.get(b"content-type"))
        if content == CSV_TYPE:
            return _of_csv(body.decode(), name)
        document = msgspec.json.decode(body if content == JSON_TYPE else body.lstrip().partition(b"\n")[0])
        if content != JSON_TYPE:
            return first_value(document, name)
        if name in document:
            return _scalar(document[name])
        key = next((key for key in _KEYS if key in document), "")
        value = document[key]
        if key == "inputs" and type(value) is list and type(value[0]) is dict and "datatype" in value[0]:
            return infer(body, headers)
        return first_value(value, name)

    def read_or_nothing(body: bytes, headers: Headers) -> Any:
        try:
            return read(body, headers)
        except PenstockError:  # the decoding will say what is wrong
            return None

    return read_or_nothing


def first_value(value: Any, name: str) -> Any:
    """The first value of `name` in rows, in columns, or in what pandas splits."""
    if type(value) is list:
        return first_value(value[0], name)
    if type(value) is not dict:
        return None
    if name not in value and type(value.get("columns")) is list:
        return _scalar(value["data"][0][value["columns"].index(name)])
    return _scalar(value[name])


def _of_csv(text: str, name: str) -> Any:
    # The first two lines, unless a quoted field has a line feed in it.
    head, *rows = read_csv("\n".join(line.rstrip("\r") for line in text.split("\n", 2)[:2]))
    return rows[0][head.index(name)]


def _scalar(value: Any) -> Any:
    while type(value) is list:
        value = value[0]
    return value
