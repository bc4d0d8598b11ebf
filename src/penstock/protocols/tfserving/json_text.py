"""JSON with the three bare tokens that TensorFlow Serving takes and gives: NaN, Infinity and -Infinity.

Everything else is as strict as elsewhere. Such a text is read twice, so nobody who sends strict JSON pays for it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.tensors import Tensors
from penstock.protocols.duplicates import keys_of, refuse_duplicates

# Strings are found, too, and stay: a token inside one is text. Possessive: a string of megabytes needs no memory.
_STRING_OR_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?Infinity|NaN', re.DOTALL)
_encode = msgspec.json.Encoder().encode


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; raises InvalidInput (`invalid-json`, `duplicate-key`)."""
    try:
        try:
            document: Any = msgspec.json.decode(body)
        except msgspec.DecodeError:
            # All that is wrong besides the tokens is found by the strict parser: depth, bytes that are no text.
            msgspec.json.decode(_STRING_OR_TOKEN.sub(_zero, body))
            document = json.loads(body.decode())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput("invalid-json", f"the body cannot be read: {str(error)[:300]}") from None
    if type(document) is not dict:
        raise InvalidInput("invalid-json", "the body is not a JSON object")
    refuse_duplicates(body, keys_of(document))
    return document


def write(document: Any, outputs: Tensors) -> bytes:
    """The text of a document whose floats are those of `outputs`: one that is not finite is written as its token."""
    if all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values()):
        return _encode(document)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _zero(found: re.Match[bytes]) -> bytes:
    text = found[0]
    return text if text.startswith(b'"') else b"0"
