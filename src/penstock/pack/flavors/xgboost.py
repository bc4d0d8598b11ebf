"""XGBoost boosters and their scikit-learn wrappers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Scalar, Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import class_name, distributions_of, labels_of, parameters_of, plain
from penstock.pack.original import Description
from penstock.runtime.frameworks.xgboost import XgboostModel


def describe(estimator: Any) -> Description:
    """What the booster says. One that comes as a file has no labels: its classes are 0, 1, … as it was trained."""
    booster = _booster(estimator)
    classes = _classes(estimator, booster)
    missing = getattr(estimator, "missing", np.nan)
    return Description(
        runtime="xgboost",
        kind=class_name(estimator),
        classes=classes,
        probabilities=classes is not None,
        features=tuple(booster.feature_names) if booster.feature_names else None,
        width=booster.num_features(),
        parameters=parameters_of(estimator) or {"objective": plain(_config(booster)["objective"]["name"])},
        distributions=distributions_of({"xgboost", "numpy"}),
        options={} if missing is None or np.isnan(missing) else {"missing": float(missing)},
    )


def _booster(estimator: Any) -> Any:
    return estimator.get_booster() if hasattr(estimator, "get_booster") else estimator


def _config(booster: Any) -> Any:
    return json.loads(booster.save_config())["learner"]


def _classes(estimator: Any, booster: Any) -> tuple[Scalar, ...] | None:
    if hasattr(estimator, "get_booster"):
        return labels_of(getattr(estimator, "classes_", None))
    objective, several = _config(booster)["objective"]["name"], _config(booster)["learner_model_param"]["num_class"]
    if objective.startswith("multi:"):
        return tuple(range(int(several)))
    return (0, 1) if objective == "binary:logistic" else None


def answer(estimator: Any, x: Any) -> Tensors:
    """What the wrapper's `predict` or the booster gives; a classifier's outputs follow from its classes."""
    if hasattr(estimator, "get_booster"):
        return {"predictions": np.asarray(estimator.predict(x))}
    return {"predictions": np.asarray(estimator.predict(xgboost.DMatrix(x, enable_categorical=True)))}


def adapt(estimator: Any, options: Mapping[str, Any], signature: Signature) -> XgboostModel:
    """The adapter that would serve it."""
    return XgboostModel(estimator, options, signature)


def store(estimator: Any, folder: Path, *, waived: bool) -> Artifact:
    """The library's own UBJ file, which holds no code."""
    folder.mkdir(parents=True, exist_ok=True)
    _booster(estimator).save_model(folder / "model.ubj")
    return Artifact(path="original/model.ubj", runtime="xgboost", serialization="native")
