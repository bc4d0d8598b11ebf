"""spaCy pipelines, as `nlp.to_disk` writes them; served as they are."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from penstock.core.errors import Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.spacy import ENTITIES, SpacyModel
from penstock.runtime.frameworks.tabular import PREDICTIONS, PROBABILITIES

_TEXTS = 64


def describe(pipeline: Any) -> Description:
    """The labels its parts know; raises Unsupported for a pipeline that neither labels nor finds entities."""
    parts = {pipeline.get_pipe_meta(name).factory: pipeline.get_pipe(name) for name in pipeline.pipe_names}
    labels = next((tuple(parts[kind].labels) for kind in ("textcat", "textcat_multilabel") if kind in parts), ())
    outputs = [Field(name=PREDICTIONS, datatype="BYTES", shape=(-1,))] if "textcat" in parts else []
    if labels:
        outputs.append(Field(name=PROBABILITIES, datatype="FP32", shape=(-1, len(labels))))
    if parts.keys() & {"ner", "entity_ruler", "span_ruler"}:
        outputs.append(Field(name=ENTITIES, datatype="BYTES", shape=(-1,)))
    if not outputs:
        raise Unsupported(
            "unsupported-model",
            f"the pipeline is {', '.join(parts) or 'empty'}: it neither labels texts nor finds entities",
            hint="pack a Python class that says what it answers",
        )
    text = Field(name="text", datatype="BYTES", shape=(-1,))
    return Description(
        runtime="spacy",
        kind=f"spacy.{pipeline.lang}[{','.join(parts)}]",
        classes=labels or None,
        declared=Signature(inputs=(text,), outputs=tuple(outputs), layout="tensors", classes=labels or None),
        distributions=distributions_of({"spacy", "numpy"}),
        texts=_texts(pipeline),
    )


def _texts(pipeline: Any) -> tuple[str, ...]:
    words = sorted(word for word in pipeline.vocab.strings if word.isalpha() and word.isascii()) or ["text"]
    chance = random.Random(0)  # noqa: S311 - nothing secret: the same texts for the same pipeline
    return tuple(" ".join(chance.choices(words, k=1 + number % 24)) for number in range(_TEXTS))


def answer(pipeline: Any, x: Any) -> Tensors:
    """Never asked: the pipeline says what it gives."""
    raise Unsupported("unsupported-graph", "a spaCy pipeline is not probed")


def adapt(pipeline: Any, options: Mapping[str, Any], signature: Signature) -> SpacyModel:
    """The adapter that will serve it."""
    return SpacyModel(pipeline, options, signature)


def convert(pipeline: Any, signature: Signature) -> list[Candidate]:
    """Never: there is no converter for spaCy."""
    raise CannotConvert("there is no converter for spaCy pipelines")
