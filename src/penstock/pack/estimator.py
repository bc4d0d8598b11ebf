"""An original in this process: a live object, or what the child process opened from a file."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.convert import Candidate, CannotConvert, candidates
from penstock.pack.lock import Lock
from penstock.runtime.frameworks.tabular import failed, reader
from penstock.runtime.model import Model

_LIBRARIES = {name: name for name in ("xgboost", "lightgbm", "catboost", "statsmodels")}


class EstimatorOriginal:
    """See `Original`. `waived`: somebody gave a reason to store the estimator as a pickle if need be."""

    lock: Lock | None = None

    def __init__(self, estimator: Any, runtime: str = "", *, waived: bool = False) -> None:
        library = _LIBRARIES.get(type(estimator).__module__.partition(".")[0], "sklearn")
        # A pickle says only when it is open what it holds; a booster in one is served as scikit-learn's are.
        runtime = library if library == "statsmodels" else runtime or library
        # What a pickle held may be a booster; its own library's converter knows it better.
        self._library = library if runtime == "sklearn" else runtime
        self._flavor: Any = import_module(f"penstock.pack.flavors.{runtime}")
        self._estimator = estimator
        self._waived = waived
        self._model: Model
        self._signature: Signature | None = None
        with _quiet():
            self.description = self._flavor.describe(estimator)

    def probe(self, draft: Signature, inputs: Tensors, options: dict[str, Any]) -> Tensors:
        """See `Original.probe`."""
        with _quiet():
            try:
                answer: Tensors = self._flavor.answer(self._estimator, reader(draft, options)(inputs))
            except Exception as error:  # an estimator may raise anything; the caller decides what it means
                raise failed(error) from error
        return answer

    def bind(self, signature: Signature, options: dict[str, Any]) -> None:
        """See `Original.bind`."""
        self._signature = signature
        self._model = self._flavor.adapt(self._estimator, options, signature)

    def run(self, inputs: Tensors) -> Tensors:
        """See `Original.run`."""
        with _quiet():
            return self._model.run(inputs)

    def seconds(self, inputs: Tensors) -> float:
        """See `Original.seconds`."""
        with _quiet():
            return best_seconds(self._model, inputs)

    def convert(self) -> tuple[list[Candidate], str]:
        """See `Original.convert`."""
        if self.description.runtime == "python" or self._signature is None:
            return [], "a Python class is served as it is"
        # Kinds that are programs, not estimators, bring a converter of their own.
        own = getattr(self._flavor, "convert", None)
        with _quiet():
            try:
                if own is not None:
                    return own(self._estimator, self._signature), ""
                return candidates(self._estimator, self._library, self._signature), ""
            except CannotConvert as error:
                return [], str(error)

    def store(self, folder: Path) -> Artifact:
        """See `Original.store`."""
        artifact: Artifact = self._flavor.store(self._estimator, folder / "original", waived=self._waived)
        return artifact

    def close(self) -> None:
        """See `Original.close`: nothing to do, the estimator belongs to the caller."""


def best_seconds(model: Model, inputs: Tensors) -> float:
    """The fastest of several runs: what else the machine does can only make a run slower."""
    best, spent, runs = float("inf"), 0.0, 0
    while runs < 5 or (spent < 0.1 and runs < 1000):
        begin = time.perf_counter()
        model.run(inputs)
        took = time.perf_counter() - begin
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best


@contextmanager
def _quiet() -> Iterator[None]:
    # A pipeline fitted on an array warns about every table it is given; whether it answers right is proven anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
