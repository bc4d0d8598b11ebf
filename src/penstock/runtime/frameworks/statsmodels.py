"""Results of statsmodels, which its own `save` writes as a pickle: opened only where somebody allowed it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.sklearn import open_estimator
from penstock.runtime.frameworks.tabular import PREDICTIONS, Outputs, failed, reader


class StatsmodelsModel:
    """Fitted results with `predict`. Options: `columns` (see `tabular.reader`)."""

    def __init__(self, results: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._results = results
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a fitted model's business."""
        rows = len(next(iter(inputs.values())))
        try:
            predictions = self._results.predict(self._read(inputs))
        except Exception as error:  # whatever the library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack({PREDICTIONS: predictions}, rows)

    def close(self) -> None:
        """Drop the results."""
        self._results = None


def load(path: Path, artifact: Artifact, signature: Signature, *, allow_pickle: bool = False) -> StatsmodelsModel:
    """Open the results at `path`; `allow_pickle` as in `frameworks.sklearn.open_estimator`."""
    results = open_estimator(path, artifact.serialization, allow_pickle=allow_pickle)
    return StatsmodelsModel(results, artifact.options, signature)
