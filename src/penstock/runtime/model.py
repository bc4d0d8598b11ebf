"""The port every framework fills in: a loaded model turns named tensors into named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from penstock.core.tensors import Tensors


class Model(Protocol):
    """A model in memory, ready to answer."""

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """Answer for all rows of `inputs`; every output of the signature is in the result.

        Inputs have exactly the signature's names and dtypes, one or more rows. Deterministic models give the same
        outputs for the same inputs; the call must not keep or change the arrays it was given.
        """
        ...

    def close(self) -> None:
        """Free what the model holds; the model is not used afterwards. Calling it twice does nothing."""
        ...
