"""scikit-learn estimators and pipelines."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, Refused
from penstock.core.signature import Scalar, Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import class_name, distributions_of, labels_of, modules_of, parameters_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.sklearn import SklearnModel


def describe(estimator: Any) -> Description:
    """What the fitted estimator says; raises InvalidInput("no-predict") for something that cannot predict."""
    if not hasattr(estimator, "predict"):
        raise InvalidInput(
            "no-predict",
            f"{class_name(estimator)} has no method `predict`, or is not fitted",
            hint="pack the fitted estimator or pipeline whose `predict` is to be served",
        )
    classes = labels_of(getattr(estimator, "classes_", None))
    names = getattr(estimator, "feature_names_in_", None)
    return Description(
        runtime="sklearn",
        kind=class_name(estimator),
        classes=classes,
        probabilities=classes is not None and hasattr(estimator, "predict_proba"),
        features=None if names is None else tuple(str(name) for name in names),
        width=getattr(estimator, "n_features_in_", None),
        categories=_known_categories(estimator),
        parameters=parameters_of(estimator),
        distributions=distributions_of({*modules_of(estimator), "sklearn", "numpy", "scipy", "skops"}),
    )


def _known_categories(estimator: Any) -> dict[str, tuple[Scalar, ...]]:
    """The categories that encoders directly on named columns learned: more than a small sample may show."""
    known: dict[str, tuple[Scalar, ...]] = {}
    for step in [estimator, *(step for _, step in getattr(estimator, "steps", ()))]:
        for _, transformer, columns in getattr(step, "transformers_", ()):
            for encoder in [transformer, *(inner for _, inner in getattr(transformer, "steps", ()))]:
                learned = getattr(encoder, "categories_", None)
                if learned is None or isinstance(columns, (str, slice)) or len(learned) != len(columns):
                    continue
                for column, values in zip(columns, learned, strict=True):
                    plain = [value for value in np.asarray(values).tolist() if value is not None and value == value]
                    if isinstance(column, str):
                        known[column] = tuple(plain)
    return known


def answer(estimator: Any, x: Any) -> Tensors:
    """What `predict` and `predict_proba` give."""
    outputs = {"predictions": np.asarray(estimator.predict(x))}
    if labels_of(getattr(estimator, "classes_", None)) is not None and hasattr(estimator, "predict_proba"):
        outputs["probabilities"] = np.asarray(estimator.predict_proba(x))
    return outputs


def adapt(estimator: Any, options: Mapping[str, Any], signature: Signature) -> SklearnModel:
    """The adapter that would serve it, on one thread as it would be served."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    threads = [name for name in params if name.rpartition("__")[2] == "n_jobs" and params[name] not in (None, 1)]
    if threads:
        # A copy: the caller's own estimator keeps its n_jobs.
        estimator = copy.deepcopy(estimator).set_params(**dict.fromkeys(threads, 1))
    return SklearnModel(estimator, options, signature)


def store(estimator: Any, folder: Path, *, waived: bool) -> Artifact:
    """Write skops where every type is on our list, joblib where somebody waived that; else Refused."""
    folder.mkdir(parents=True, exist_ok=True)
    # Imported here: skops takes half a second, which packing a file must not pay for.
    from penstock.pack.skops_file import trusted_skops

    data, why = trusted_skops(estimator)
    if not why:
        (folder / "model.skops").write_bytes(data)
        return Artifact(path="original/model.skops", runtime="sklearn", serialization="skops")
    if not waived:
        raise Refused(
            "pickle-refused",
            f"{class_name(estimator)} can only be stored as a pickle: {why}",
            hint='say why that is acceptable, penstock.pack(..., allow_pickle="reason"), or pack a Python class',
        )
    joblib.dump(estimator, folder / "model.joblib")
    return Artifact(path="original/model.joblib", runtime="sklearn", serialization="joblib")
