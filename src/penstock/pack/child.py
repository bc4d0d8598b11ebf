"""The process that opens what may run code: `python -m penstock.pack.child IN OUT`, two inherited pipes.

It is asked in frames and answers in frames, so that the process which packs never opens the file, and a model that
exits, crashes or prints harms nobody. What it answers is data of unknown origin and is read as such.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.estimator import EstimatorOriginal
from penstock.pack.opening import open_file
from penstock.runtime.load import load_artifact
from penstock.runtime.model import Model
from penstock.runtime.trial import serve

Answer = tuple[Tensors, dict[str, Any]]


class _Server:
    """The original or a stored model, and one method per question."""

    def __init__(self) -> None:
        self._original: EstimatorOriginal
        self._model: Model

    def open(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        artifact = msgspec.convert(meta["artifact"], Artifact)
        estimator = open_file(Path(meta["path"]), artifact)
        self._original = EstimatorOriginal(estimator, artifact.runtime)
        return {}, {"description": msgspec.to_builtins(self._original.description)}

    def probe(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return self._original.probe(msgspec.convert(meta["signature"], Signature), inputs, meta["options"]), {}

    def bind(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        self._original.bind(msgspec.convert(meta["signature"], Signature), meta["options"])
        return {}, {}

    def run(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return self._original.run(inputs), {}

    def seconds(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return {}, {"seconds": self._original.seconds(inputs)}

    def convert(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        forms, reason = self._original.convert()
        models: Tensors = {str(number): np.frombuffer(form.model, np.uint8) for number, form in enumerate(forms)}
        about = [
            msgspec.to_builtins({key: value for key, value in msgspec.structs.asdict(form).items() if key != "model"})
            for form in forms
        ]
        return models, {"forms": about, "reason": reason}

    def load(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        artifact = msgspec.convert(meta["artifact"], Artifact)
        signature = msgspec.convert(meta["signature"], Signature)
        self._model = load_artifact(Path(meta["path"]), artifact, signature, allow_pickle=meta["allow_pickle"])
        return {}, {}

    def answer(self, inputs: Tensors, meta: dict[str, Any]) -> Answer:
        return self._model.run(inputs), {}


def main() -> None:
    """Answer until the pipe is closed."""
    questions, answers = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    # A crash of a hostile model must not leave gigabytes of its memory in the working folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(_Server(), questions, answers)


if __name__ == "__main__":
    main()
