"""spaCy pipelines that label texts or find entities in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import spacy

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES, Outputs, damaged, failed

ENTITIES = "entities"


class SpacyModel:
    """Texts in; what the signature names out: labels and their probabilities, entities as JSON."""

    def __init__(self, pipeline: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._pipeline: Any = pipeline
        self._text = signature.inputs[0].name
        self._classes = signature.classes or ()
        self._wanted = {field.name for field in signature.outputs}
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a pipeline's business."""
        try:
            documents = list(self._pipeline.pipe(inputs[self._text].tolist()))
            results = self._results(documents)
        except Exception as error:  # whatever a pipeline raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(documents))

    def _results(self, documents: list[Any]) -> dict[str, Array]:
        results: dict[str, Array] = {}
        if PROBABILITIES in self._wanted:
            scores = np.array([[document.cats[label] for label in self._classes] for document in documents], np.float32)
            results[PROBABILITIES] = scores
        if PREDICTIONS in self._wanted:
            results[PREDICTIONS] = np.array(self._classes, object)[results[PROBABILITIES].argmax(axis=1)]
        if ENTITIES in self._wanted:
            results[ENTITIES] = np.empty(len(documents), object)
            results[ENTITIES][:] = [_entities(document) for document in documents]
        return results

    def close(self) -> None:
        """Drop the pipeline."""
        self._pipeline = None


def _entities(document: Any) -> str:
    found = [
        {"label": entity.label_, "start": entity.start_char, "end": entity.end_char, "text": entity.text}
        for entity in document.ents
    ]
    return msgspec.json.encode(found).decode()


def load(path: Path, artifact: Artifact, signature: Signature) -> SpacyModel:
    """Open the pipeline for which the file at `path` stands."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"spaCy pipelines are not stored as {artifact.serialization}")
    return SpacyModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """The pipeline in the folder of `path`; raises Unsupported for parts that are not installed, InvalidInput."""
    try:
        return spacy.load(path.parent)
    except ImportError:
        raise
    except Exception as error:  # its readers raise as many classes as there are reasons
        words = (str(error).splitlines() or [""])[0]
        if "[E002]" in words or "[E893]" in words:
            raise Unsupported(
                "unsupported-model",
                f"the pipeline needs a part that is not installed: {words[:300]}",
                hint="install the package that registers it, or pack a Python class",
            ) from error
        raise damaged(path, error) from error
