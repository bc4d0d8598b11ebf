"""From a trained model to a sealed bundle: convert, prove equal, measure. `penstock.pack(model, …)` does all of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.pack.packing import Packed, Progress, pack, pack_file

__all__ = ["Packed", "pack", "pack_file"]


class _CallablePackage(ModuleType):
    """What `penstock.pack` is, so that it can be called; see docs/decisions/penstock-pack-is-callable.md."""

    def __call__(self, model: Any, sample: Any = None, *, name: str, out: str | Path | None = None,
                 progress: Progress | None = None, **choices: Any) -> Packed:  # fmt: skip
        """See `penstock.pack.packing.pack`."""
        return pack(model, sample, name=name, out=out, progress=progress, **choices)


# The import system binds `penstock.pack` to this module whenever any part of it is imported, so a function of that name
# would be lost or would hide the modules, depending on the order of imports. One object that is both cannot.
sys.modules[__name__].__class__ = _CallablePackage
