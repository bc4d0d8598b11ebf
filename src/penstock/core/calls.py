"""One question to a model and its answer, free of any protocol."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.tensors import Tensors


class Call(msgspec.Struct, gc=False):
    """A request after decoding: canonical tensors in the dtypes of the signature.

    `rows` is the length of the first axis (1 for a model without one); `outputs` names those asked for (None: all);
    `binary` tells the protocol which of them leave as raw bytes; `style` is what else reading must tell writing.
    """

    inputs: Tensors
    rows: int
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: tuple[str, ...] | None = None
    binary: frozenset[str] | bool = False
    style: Any = None
