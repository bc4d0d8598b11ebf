"""CatBoost models, from the library's own binary file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import catboost

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.classes import column_order
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES, Outputs, damaged, failed, reader


class CatboostModel:
    """A `CatBoostClassifier`, `CatBoostRegressor` or `CatBoost`.

    Options: `columns` (see `tabular.reader`), `threads` (default 1), `derive_predictions` (see `SklearnModel`).
    """

    def __init__(self, estimator: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._model = estimator
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)
        self._threads = int(options.get("threads", 1))
        self._derive = bool(options.get("derive_predictions"))
        self._order = None
        if self._outputs.wants_probabilities:
            self._order = column_order(signature, estimator.classes_)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a CatBoost model's business."""
        rows = len(next(iter(inputs.values())))
        try:
            results = self._results(self._read(inputs))
        except Exception as error:  # whatever the library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, rows)

    def _results(self, x: Any) -> dict[str, Any]:
        predict, threads = self._model.predict, self._threads
        results: dict[str, Any] = {}
        if self._outputs.wants_probabilities:
            probabilities = predict(x, prediction_type="Probability", thread_count=threads)
            results[PROBABILITIES] = probabilities if self._order is None else probabilities[:, self._order]
            if self._derive:
                return {**results, PREDICTIONS: self._outputs.labels(results[PROBABILITIES])}
        return {**results, PREDICTIONS: predict(x, thread_count=threads)}

    def close(self) -> None:
        """Drop the model."""
        self._model = None


def load(path: Path, artifact: Artifact, signature: Signature) -> CatboostModel:
    """Open the model at `path`."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"CatBoost models are not stored as {artifact.serialization}")
    return CatboostModel(open_estimator(path, classifier=bool(signature.classes)), artifact.options, signature)


def open_estimator(path: Path, *, classifier: bool) -> Any:
    """The model in a `.cbm` file; raises InvalidInput("damaged-model").

    The file does not say which wrapper trained it, and each has another default for what `predict` answers.
    """
    estimator = catboost.CatBoostClassifier() if classifier else catboost.CatBoostRegressor()
    try:
        estimator.load_model(str(path))
    except catboost.CatBoostError as error:
        raise damaged(path, error) from error
    return estimator
