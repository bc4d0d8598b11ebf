"""A model in its own environment, asked while it is packed: `python -m penstock.runtime.trial IN OUT`, two pipes.

The child of `penstock.pack` needs what packing needs; this one needs what a worker needs, so that a model can be proven
in the very environment that will serve it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from penstock.bundle.manifest import Artifact
from penstock.core.errors import ModelFailed, PenstockError
from penstock.core.frames import decode_frame, encode_frame
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.tabular import failed, reader
from penstock.runtime.messages import read_message, write_message
from penstock.runtime.model import Model

Answer = tuple[Tensors, dict[str, Any]]


class _Server:
    """An MLflow model, and one method per question."""

    def __init__(self) -> None:
        self._framework: Any
        self._estimator: Any
        self._model: Model
        self._options: dict[str, Any] = {}

    def open(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        self._framework = import_module(f"penstock.runtime.frameworks.{meta['artifact']['runtime']}")
        try:
            self._estimator = self._framework.open_estimator(Path(meta["path"]))
        except Exception as error:  # a model's code may raise anything while it is opened
            words = f"MLflow cannot open the model: {type(error).__name__}: {str(error)[:400]}"
            raise ModelFailed("model-failed", words) from error
        self._options = meta["description"]["options"]
        return {}, {"description": meta["description"]}

    def probe(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        options = {**self._options, **meta["options"]}
        read = reader(msgspec.convert(meta["signature"], Signature), options)
        x = next(iter(inputs.values())) if options.get("unnamed") else read(inputs)
        try:
            return self._framework.named_results(self._framework.ask(self._estimator, x, {})), {}
        except Exception as error:  # a model may raise anything; the caller decides what it means
            raise failed(error) from error

    def bind(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        signature = msgspec.convert(meta["signature"], Signature)
        self._model = self._framework.PyfuncModel(self._estimator, meta["options"], signature)
        return {}, {}

    def run(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return self._model.run(inputs), {}

    answer = run

    def seconds(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            self._model.run(inputs)
            took.append(time.perf_counter() - began)
        return {}, {"seconds": min(took)}

    def convert(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return {}, {"forms": [], "reason": "an MLflow python_function is served as it is"}

    def load(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        artifact = msgspec.convert(meta["artifact"], Artifact)
        framework = import_module(f"penstock.runtime.frameworks.{artifact.runtime}")
        signature = msgspec.convert(meta["signature"], Signature)
        self._model = framework.load(Path(meta["path"]), artifact, signature, allow_pickle=meta["allow_pickle"])
        return {}, {}


def main() -> None:
    """Answer until the pipe is closed."""
    questions, answers = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(_Server(), questions, answers)


def serve(server: Any, questions: Any, answers: Any) -> None:
    """Answer each question by the method of `server` that it names; what the method raises is the answer then."""
    while (question := read_message(questions)) is not None:
        tensors, meta = decode_frame(question)
        handle: Callable[[Tensors, dict[str, Any]], Answer] = getattr(server, meta["do"])
        try:
            write_message(answers, encode_frame(*handle(tensors, meta)))
        except PenstockError as error:
            write_message(answers, _failure(error))
        except Exception as error:  # a model's file may raise anything; the reason goes to the one who asked
            write_message(answers, _failure(ModelFailed("model-failed", f"{type(error).__name__}: {str(error)[:300]}")))


def _failure(error: PenstockError) -> bytes:
    said = {"kind": error.kind, "code": error.code, "message": error.message, "hint": error.hint}
    return encode_frame({}, {"error": said})


if __name__ == "__main__":
    main()
