"""CatBoost models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import class_name, distributions_of, labels_of, plain
from penstock.pack.original import Description
from penstock.runtime.frameworks.catboost import CatboostModel


def describe(estimator: Any) -> Description:
    """What the model says."""
    classes = labels_of(estimator.classes_)
    names = [str(name) for name in estimator.feature_names_]
    return Description(
        runtime="catboost",
        kind=class_name(estimator),
        classes=classes,
        probabilities=classes is not None,
        features=None if names == [str(number) for number in range(len(names))] else tuple(names),
        width=len(names),
        parameters={str(name): plain(value) for name, value in sorted(estimator.get_params().items())},
        distributions=distributions_of({"catboost", "numpy"}),
    )


def answer(estimator: Any, x: Any) -> Tensors:
    """What `predict` gives; a classifier's outputs follow from its classes."""
    return {"predictions": np.asarray(estimator.predict(x, thread_count=1))}


def adapt(estimator: Any, options: Mapping[str, Any], signature: Signature) -> CatboostModel:
    """The adapter that would serve it."""
    return CatboostModel(estimator, options, signature)


def store(estimator: Any, folder: Path, *, waived: bool) -> Artifact:
    """The library's own binary file, which holds no code."""
    folder.mkdir(parents=True, exist_ok=True)
    estimator.save_model(str(folder / "model.cbm"))
    return Artifact(path="original/model.cbm", runtime="catboost", serialization="native")
