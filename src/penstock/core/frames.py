"""Named tensors as one block of bytes: a JSON header, then each tensor's raw bytes.

    8 bytes   length of the header, little-endian
    header    {"tensors": [{"name", "datatype", "shape", "size"}, …], "meta": {…}}
    tensors   in the header's order, as `tensors.to_bytes` writes them

It is how golden rows are stored and how the node talks to its model processes. Nothing in a frame is ever executed,
which is why it is this and not pickle.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.errors import InvalidInput
from penstock.core.tensors import Tensors, datatype_of, from_bytes, to_bytes


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    size: int


class _Header(msgspec.Struct):
    tensors: list[_Tensor]
    meta: dict[str, Any]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Header).decode


def encode_frame(tensors: Tensors, meta: dict[str, Any] | None = None) -> bytes:
    """One frame that holds `tensors` and `meta` (JSON values)."""
    blocks = [to_bytes(array) for array in tensors.values()]
    described = [
        _Tensor(name, datatype_of(array), list(array.shape), len(block))
        for (name, array), block in zip(tensors.items(), blocks, strict=True)
    ]
    header = _encode(_Header(described, meta or {}))
    return b"".join((len(header).to_bytes(8, "little"), header, *blocks))


def decode_frame(data: bytes | memoryview) -> tuple[Tensors, dict[str, Any]]:
    """The tensors and meta of one frame; raises InvalidInput when it is damaged.

    Example:
        >>> import numpy as np
        >>> decode_frame(encode_frame({"x": np.array([1, 2], np.int8)}, {"id": 7}))
        ({'x': array([1, 2], dtype=int8)}, {'id': 7})
    """
    view = memoryview(data)
    end = 8 + int.from_bytes(view[:8], "little")
    try:
        header = _decode(view[8:end])
    except msgspec.MsgspecError as error:
        raise InvalidInput("damaged-frame", f"a tensor frame's header cannot be read: {error}") from None
    tensors: Tensors = {}
    for tensor in header.tensors:
        tensors[tensor.name] = from_bytes(view[end : end + tensor.size], tensor.datatype, tensor.shape, nulls=True)
        end += tensor.size
    if end != len(view):
        raise InvalidInput("damaged-frame", f"a tensor frame has {len(view)} bytes, its header describes {end}")
    return tensors, header.meta
