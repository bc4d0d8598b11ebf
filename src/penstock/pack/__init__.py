"""From a trained model to a sealed bundle: convert, prove equal, measure.

`penstock.pack` is both this package and the function: `penstock.pack(model, sample, name="churn")`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from penstock.pack.packing import Packed, graph, pack, pack_file

__all__ = ["Packed", "graph", "pack", "pack_file"]


class _CallablePackage(ModuleType):
    def __call__(self, model: Any, sample: Any = None, **choices: Any) -> Packed:
        """See `penstock.pack.packing.pack`."""
        return pack(model, sample, **choices)


# A function of the same name in `penstock` would be replaced by this module as soon as anybody imports it: which of
# the two `penstock.pack` is must not depend on what was imported before. (Python's data model allows this assignment.)
sys.modules[__name__].__class__ = _CallablePackage
