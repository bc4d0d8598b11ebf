"""From a network's scores to answers: labels, entities or vectors. One function per task, pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from penstock.core.tensors import Array
from penstock.runtime.frameworks.huggingface_folder import Recipe

Head = Callable[[Array, Array, list[Any], list[str], Recipe], dict[str, Array]]


def classify(scores: Array, mask: Array, encodings: list[Any], texts: list[str], recipe: Recipe) -> dict[str, Array]:
    """Probabilities of labels and the best label; the number itself of a regression."""
    return labelled(scores, recipe.labels, recipe.several)


def labelled(scores: Array, labels: tuple[str, ...], several: bool) -> dict[str, Array]:
    """Probabilities of labels and the best label, where not several may hold; without labels the scores themselves."""
    if not labels:
        return {"predictions": scores[:, 0] if scores.shape[1] == 1 else scores}
    if several:
        return {"probabilities": (1.0 / (1.0 + np.exp(np.negative(scores)))).astype(scores.dtype)}
    return {"predictions": np.array(labels, object)[scores.argmax(axis=1)], "probabilities": _softmax(scores)}


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    out: Array = powers / powers.sum(axis=1, keepdims=True)
    return out


def tag(scores: Array, mask: Array, encodings: list[Any], texts: list[str], recipe: Recipe) -> dict[str, Array]:
    """The entities of each text, as JSON: neighbouring tokens of one label, whose B- and I- are left out."""
    best = scores.argmax(axis=2)
    out: Array = np.empty(len(texts), object)
    out[:] = [
        msgspec.json.encode(_entities(row[: len(encoding.ids)], encoding, text, recipe)).decode()
        for row, encoding, text in zip(best, encodings, texts, strict=True)
    ]
    return {"entities": out}


def _entities(best: Array, encoding: Any, text: str, recipe: Recipe) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    open_label = ""
    for at, special, (start, end) in zip(best, encoding.special_tokens_mask, encoding.offsets, strict=True):
        begins, _, kind = recipe.labels[at].rpartition("-")
        if special or recipe.labels[at] == "O":
            open_label = ""
        elif kind == open_label and begins != "B":
            found[-1]["end"] = end
        else:
            found.append({"label": kind, "start": start, "end": end})
            open_label = kind
    return [{**entity, "text": text[entity["start"] : entity["end"]]} for entity in found]


def embed(scores: Array, mask: Array, encodings: list[Any], texts: list[str], recipe: Recipe) -> dict[str, Array]:
    """One vector a text, and how many tokens it has."""
    tokens = mask.sum(axis=1)
    if recipe.pooling == "cls":
        vectors = scores[:, 0]
    elif recipe.pooling == "lasttoken":
        vectors = scores[np.arange(len(scores)), np.maximum(tokens, 1) - 1]
    elif recipe.pooling == "max":
        vectors = np.where(mask[:, :, None] == 1, scores, -np.inf).max(axis=1)
    else:
        shares = mask[:, :, None].astype(scores.dtype)
        vectors = np.multiply(scores, shares).sum(axis=1) / np.maximum(tokens, 1)[:, None].astype(scores.dtype)
    if recipe.normalise:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return {"embedding": vectors, "tokens": tokens}


HEADS: dict[str, Head] = {"classify": classify, "tag": tag, "embed": embed}
