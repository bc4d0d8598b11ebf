"""scikit-learn estimators and pipelines, from skops or, where somebody allowed it, from a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Refused, Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.classes import column_order
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES, Outputs, damaged, failed, reader
from penstock.runtime.frameworks.trusted_types import TRUSTED, refused_types


class SklearnModel:
    """An estimator with `predict` and, when the signature lists `probabilities`, `predict_proba`.

    Options: `columns` (see `tabular.reader`); `derive_predictions` true: compute the probabilities once and take the
    label of the largest, which packing has proven equal to `predict` for this estimator.
    """

    def __init__(self, estimator: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._estimator = estimator
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)
        self._derive = bool(options.get("derive_predictions")) and self._outputs.wants_probabilities
        self._order = None
        if self._outputs.wants_probabilities:
            self._order = column_order(signature, getattr(estimator, "classes_", None))

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not an estimator's business."""
        rows = len(next(iter(inputs.values())))
        try:
            x = self._read(inputs)
            results: dict[str, Any] = {}
            if self._outputs.wants_probabilities:
                probabilities = self._estimator.predict_proba(x)
                results[PROBABILITIES] = probabilities if self._order is None else probabilities[:, self._order]
            if self._derive:
                results[PREDICTIONS] = self._outputs.labels(results[PROBABILITIES])
            else:
                results[PREDICTIONS] = self._estimator.predict(x)
        except Exception as error:  # whatever an estimator raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, rows)

    def close(self) -> None:
        """Drop the estimator."""
        self._estimator = None


def load(path: Path, artifact: Artifact, signature: Signature, *, allow_pickle: bool = False) -> SklearnModel:
    """Open the estimator at `path`; `allow_pickle` as in `open_estimator`."""
    estimator = open_estimator(path, artifact.serialization, allow_pickle=allow_pickle)
    _one_thread(estimator)
    return SklearnModel(estimator, artifact.options, signature)


def open_estimator(path: Path, serialization: str, *, allow_pickle: bool = False) -> Any:
    """The object in a `skops`, `joblib` or `pickle` file.

    Opening a pickle runs whatever its author wrote into it. `allow_pickle` is therefore passed by two callers only:
    the model's own worker process, after the node's policy allowed it, and the separate process in which packing
    opens a file once under a recorded waiver. Everyone else gets Refused("pickle-refused").
    Raises Refused("untrusted-type") for a skops file that holds a type which is not on our list.
    """
    if serialization == "skops":
        return _open_skops(path)
    if serialization not in ("joblib", "pickle"):
        raise Unsupported("unsupported-serialization", f"scikit-learn models are not stored as {serialization}")
    if not allow_pickle:
        raise Refused(
            "pickle-refused",
            f"{path.name} is a {serialization} file: opening it runs code that its author chose",
            hint="pack it with a waiver, and serve it where the node's policy allows a worker process to open it",
        )
    if serialization == "joblib":
        import joblib

        return joblib.load(path)
    import pickle  # reached only with `allow_pickle`

    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # reached only with `allow_pickle`


def _open_skops(path: Path) -> Any:
    from skops import io as skops_io

    try:
        refused = refused_types(path)
    except Exception as error:  # zipfile, json and skops each have their own words for a damaged file
        raise damaged(path, error) from error
    if refused:
        raise Refused(
            "untrusted-type",
            f"{path.name} holds {len(refused)} types that are not on Penstock's list: {', '.join(refused[:10])}",
            hint="a model with code of its own is packed with a waiver, or as a Python class",
        )
    # Never what `get_untrusted_types` says: that list comes from the file, so every file would vouch for itself.
    return skops_io.load(path, trusted=sorted(TRUSTED))


def _one_thread(estimator: Any) -> None:
    # n_jobs=-1 from training would start threads for every call, which fight with the other processes and add up
    # a forest's trees in a changing order.
    if hasattr(estimator, "get_params"):
        names = [name for name in estimator.get_params() if name.rsplit("__", 1)[-1] == "n_jobs"]
        if names:
            estimator.set_params(**dict.fromkeys(names, 1))
