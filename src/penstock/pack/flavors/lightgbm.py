"""LightGBM boosters and their scikit-learn wrappers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Scalar, Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import class_name, distributions_of, labels_of, parameters_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.lightgbm import LightgbmModel

_UNNAMED = re.compile(r"Column_\d+")
_OBJECTIVE = re.compile(r"^objective=(.*)$", re.MULTILINE)


def describe(estimator: Any) -> Description:
    """What the booster says. One that comes as a file has no labels: its classes are 0, 1, … as it was trained."""
    booster = getattr(estimator, "booster_", estimator)
    objective = _objective(booster)
    classes = labels_of(getattr(estimator, "classes_", None)) if booster is not estimator else _classes(objective)
    names = booster.feature_name()
    return Description(
        runtime="lightgbm",
        kind=class_name(estimator),
        classes=classes,
        probabilities=classes is not None,
        features=None if all(_UNNAMED.fullmatch(name) for name in names) else tuple(names),
        width=booster.num_feature(),
        parameters=parameters_of(estimator) or {"objective": objective},
        distributions=distributions_of({"lightgbm", "numpy", "scipy"}),
    )


def _objective(booster: Any) -> str:
    found = _OBJECTIVE.search(booster.model_to_string(num_iteration=1))
    return found.group(1) if found else ""


def _classes(objective: str) -> tuple[Scalar, ...] | None:
    words = objective.split()
    if words[:1] == ["binary"]:
        return (0, 1)
    if words[:1] in (["multiclass"], ["multiclassova"]):
        return tuple(range(int(next(word for word in words if word.startswith("num_class:"))[10:])))
    return None


def answer(estimator: Any, x: Any) -> Tensors:
    """What `predict` gives; a classifier's outputs follow from its classes."""
    return {"predictions": np.asarray(getattr(estimator, "booster_", estimator).predict(x))}


def adapt(estimator: Any, options: Mapping[str, Any], signature: Signature) -> LightgbmModel:
    """The adapter that would serve it."""
    return LightgbmModel(estimator, options, signature)


def store(estimator: Any, folder: Path, *, waived: bool) -> Artifact:
    """The library's own text file, which holds no code."""
    folder.mkdir(parents=True, exist_ok=True)
    getattr(estimator, "booster_", estimator).save_model(folder / "model.txt")
    return Artifact(path="original/model.txt", runtime="lightgbm", serialization="native")
