"""A Hugging Face folder that was opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from penstock.core.tensors import Array, Tensors

Network = Callable[[Tensors], Array]


class Opened(msgspec.Struct, frozen=True):
    """Its network, and its tokenizer where it reads texts; `module` is PyTorch's, if that is what it runs on."""

    path: Path
    tokenizer: Any
    network: Network
    module: Any = None
