"""Results of statsmodels: linear, generalised linear and discrete models, whatever has `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, Refused
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.convert.statsmodels_lines import plain_columns
from penstock.pack.describing import class_name, distributions_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.statsmodels import StatsmodelsModel


def describe(results: Any) -> Description:
    """What the fitted results say; raises InvalidInput("no-predict") for something that cannot predict."""
    if not hasattr(results, "predict") or not hasattr(results, "params"):
        raise InvalidInput("no-predict", f"{class_name(results)} has no method `predict`", hint="pack what fit() gave")
    return Description(
        runtime="statsmodels",
        kind=f"{class_name(results)}[{type(results.model).__name__}]",
        features=plain_columns(results),
        parameters={"formula": str(results.model.formula)} if getattr(results.model, "formula", None) else {},
        distributions=distributions_of({"statsmodels", "numpy", "pandas", "scipy", "joblib"}),
    )


def answer(results: Any, x: Any) -> Tensors:
    """What `predict` gives."""
    return {"predictions": np.asarray(results.predict(x))}


def adapt(results: Any, options: Mapping[str, Any], signature: Signature) -> StatsmodelsModel:
    """The adapter that would serve it."""
    return StatsmodelsModel(results, options, signature)


def store(results: Any, folder: Path, *, waived: bool) -> Artifact:
    """The library's own file, a pickle, where somebody gave a reason; else Refused("pickle-refused")."""
    if not waived:
        raise Refused(
            "pickle-refused",
            f"{class_name(results)} can only be stored as a pickle",
            hint='say why that is acceptable: penstock.pack(..., allow_pickle="reason")',
        )
    folder.mkdir(parents=True, exist_ok=True)
    results.save(str(folder / "model.pickle"))
    return Artifact(path="original/model.pickle", runtime="statsmodels", serialization="pickle")
