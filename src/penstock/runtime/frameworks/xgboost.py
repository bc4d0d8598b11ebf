"""XGBoost boosters, from the library's own JSON or UBJ file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES, Outputs, damaged, failed, reader


class XgboostModel:
    """A booster, given as `xgboost.Booster` or as any of the scikit-learn wrappers.

    Labels and probabilities follow the wrappers: a binary score above 0.5 is the second class, otherwise the largest
    column wins. Without classes in the signature `predictions` are the booster's own values.

    Options: `columns` (see `tabular.reader`), `missing` (the value that means missing, default NaN), `threads`
    (default 1).
    """

    def __init__(self, estimator: Any, options: Mapping[str, Any], signature: Signature) -> None:
        booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
        self._booster = booster
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)
        self._missing = float(options.get("missing", np.nan))
        self._threads = int(options.get("threads", 1))
        learner = json.loads(booster.save_config())["learner"]
        self._objective = learner["objective"]["name"]
        # A DMatrix costs more than the trees for a few rows; linear boosters know nothing else.
        self._in_place = learner["gradient_booster"]["name"] != "gblinear"
        # A wrapper trained with early stopping predicts with the best iteration; the file remembers it.
        best = booster.attr("best_iteration")
        self._trees = (0, int(best) + 1) if best is not None else (0, 0)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a booster's business."""
        rows = len(next(iter(inputs.values())))
        try:
            raw = self._score(self._read(inputs))
        except Exception as error:  # whatever the library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(self._results(raw), rows)

    def _score(self, x: Any) -> Any:
        # Softmax objectives that answer labels only have their probabilities in the margins.
        margins = self._objective == "multi:softmax"
        if self._in_place:
            kind = "margin" if margins else "value"
            scores = self._booster.inplace_predict(
                x, predict_type=kind, missing=self._missing, iteration_range=self._trees
            )
        else:
            data = xgboost.DMatrix(x, missing=self._missing, nthread=self._threads)
            scores = self._booster.predict(data, output_margin=margins, iteration_range=self._trees)
        if not margins:
            return scores
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def _results(self, raw: Any) -> dict[str, Any]:
        classes = self._outputs.classes
        if not len(classes):
            several = raw.ndim == 2 and self._objective.startswith("binary:")
            return {PREDICTIONS: (raw > 0.5) if several else raw}
        if raw.ndim == 1:
            return {
                PREDICTIONS: classes[(raw > 0.5).astype(np.intp)],
                PROBABILITIES: np.stack((1.0 - raw, raw), axis=1),
            }
        return {PREDICTIONS: self._outputs.labels(raw), PROBABILITIES: raw}

    def close(self) -> None:
        """Drop the booster."""
        self._booster = None


def load(path: Path, artifact: Artifact, signature: Signature) -> XgboostModel:
    """Open the booster at `path`."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"XGBoost models are not stored as {artifact.serialization}")
    booster = open_estimator(path)
    booster.set_param({"nthread": int(artifact.options.get("threads", 1))})
    return XgboostModel(booster, artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """The booster in a JSON or UBJ file; raises InvalidInput("damaged-model")."""
    booster = xgboost.Booster()
    try:
        booster.load_model(str(path))
    except xgboost.core.XGBoostError as error:
        raise damaged(path, error) from error
    return booster
