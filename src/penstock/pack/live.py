"""Live models that are packed by way of their own file: their libraries write programs, which no adapter holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from penstock.core.errors import Unsupported


def saved(model: Any, folder: Path) -> Path | None:
    """The file or folder to which the model was written, below `folder`; None for an estimator, which has no need.

    Raises Unsupported("unsupported-model") for a PyTorch module that was not exported.
    """
    if hasattr(model, "SerializeToString"):
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path
    libraries = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "torch" in libraries:
        return _of_torch(model, folder)
    if "keras" in libraries:
        model.save(folder / "model.keras")
        return folder / "model.keras"
    if "spacy" in libraries:
        model.to_disk(folder / "pipeline")
        return folder / "pipeline"
    return None


def _of_torch(model: Any, folder: Path) -> Path:
    # A model of it cannot be here without it.
    torch = sys.modules["torch"]
    if isinstance(model, torch.export.ExportedProgram):
        torch.export.save(model, folder / "model.pt2")
        return folder / "model.pt2"
    if isinstance(model, torch.jit.ScriptModule):
        model.save(str(folder / "model.pt"))
        return folder / "model.pt"
    raise Unsupported(
        "unsupported-model",
        f"{type(model).__qualname__} is a module whose code is elsewhere",
        hint="export it with example inputs: penstock.pack(torch.export.export(model.eval(), inputs), ...)",
    )
