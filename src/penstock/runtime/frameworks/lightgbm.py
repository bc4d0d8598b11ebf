"""LightGBM boosters, from the library's own text file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES, Outputs, damaged, failed, reader


class LightgbmModel:
    """A booster, given as `lightgbm.Booster` or as any of the scikit-learn wrappers.

    The label is the class with the largest probability, as in `LGBMClassifier`. Without classes in the signature
    `predictions` are the booster's own values.

    Options: `columns` (see `tabular.reader`), `threads` (default 1).
    """

    def __init__(self, estimator: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._booster = getattr(estimator, "booster_", estimator)
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)
        self._threads = int(options.get("threads", 1))

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a booster's business."""
        rows = len(next(iter(inputs.values())))
        try:
            raw = np.asarray(self._booster.predict(self._read(inputs), num_threads=self._threads))
        except Exception as error:  # whatever the library raises is the model's failure, not the server's
            raise failed(error) from error
        if not len(self._outputs.classes):
            return self._outputs.pack({PREDICTIONS: raw}, rows)
        if raw.ndim == 1:
            raw = np.stack((1.0 - raw, raw), axis=1)
        return self._outputs.pack({PREDICTIONS: self._outputs.labels(raw), PROBABILITIES: raw}, rows)

    def close(self) -> None:
        """Drop the booster."""
        self._booster = None


def load(path: Path, artifact: Artifact, signature: Signature) -> LightgbmModel:
    """Open the booster at `path`."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"LightGBM models are not stored as {artifact.serialization}")
    return LightgbmModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """The booster in a text file; raises InvalidInput("damaged-model")."""
    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise damaged(path, error) from error
