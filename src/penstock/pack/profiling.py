"""Statistics of the sample's inputs and of the model's outputs for it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from penstock.bundle.profile import FORMAT, Categories, ColumnProfile, Numbers, Profile
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors
from penstock.pack.arrays import Values

_BINS = 20
_CATEGORIES = 100
_COLUMNS = 1000
_LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def profile_of(
    signature: Signature, inputs: Tensors, outputs: Tensors, target: Values | None, *, label_sensitive: bool = False
) -> Profile:
    """The profile of a sample and of the answers to it; deterministic for the same values."""
    labels = {"predictions"} if signature.classes is not None else set()
    return Profile(
        format=FORMAT,
        rows=len(next(iter(inputs.values()))),
        inputs=tuple(part for field in signature.inputs for part in _columns(field, inputs[field.name], False)),
        outputs=tuple(
            part
            for field in signature.outputs
            for part in _columns(field, np.asarray(outputs[field.name]), field.name in labels)
        ),
        quality=quality_of(signature, outputs, target) if target is not None else {},
    )


def _columns(field: Field, values: Values, label: bool) -> list[ColumnProfile]:
    if values.ndim == 1:
        return [_column(field, field.name, values, label)]
    flat = values.reshape(len(values), -1)
    if flat.shape[1] > _COLUMNS:
        # An image has a million columns of its own: what drifts there is the whole.
        return [_column(field, field.name, flat.ravel(), label)]
    return [_column(field, f"{field.name}[{number}]", flat[:, number], label) for number in range(flat.shape[1])]


def _column(field: Field, name: str, values: Values, label: bool) -> ColumnProfile:
    missing = np.isnan(values) if values.dtype.kind == "f" else np.array([value is None for value in values], np.bool_)
    present = values[~missing] if missing.any() else values
    counted = label or field.categories is not None or values.dtype.kind in "Ob"
    return ColumnProfile(
        name=name,
        datatype=field.datatype,
        count=len(values),
        nulls=int(missing.sum()),
        sensitive=field.sensitive,
        numbers=None if field.sensitive or counted else _numbers(present.astype(np.float64)),
        categories=_categories(field, present) if counted and not field.sensitive else None,
    )


def _numbers(values: Values) -> Numbers | None:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    # Quantile edges would move with every sample; fixed ones over the range are what later data is counted into.
    edges = np.linspace(low, high, _BINS + 1) if low < high else np.array([low, np.nextafter(low, np.inf)])
    counts, _ = np.histogram(finite, edges)
    return Numbers(
        mean=float(finite.mean()),
        std=float(finite.std()),
        min=low,
        max=high,
        levels=_LEVELS,
        quantiles=tuple(np.quantile(finite, _LEVELS).tolist()),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        infinite=len(values) - len(finite),
    )


def _categories(field: Field, values: Values) -> Categories:
    counts = Counter(values.tolist())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    # Free text may be anybody's words: a value is written down only when several rows share it, or it is no text.
    if field.categories is None and values.dtype.kind == "O":
        ranked_shown = [item for item in ranked if item[1] > 1] if len(ranked) <= _CATEGORIES else []
    else:
        ranked_shown = ranked
    shown = ranked_shown[:_CATEGORIES]
    return Categories(counts=tuple(shown), other=len(values) - sum(count for _, count in shown), distinct=len(ranked))


def quality_of(signature: Signature, outputs: Tensors, target: Values) -> dict[str, float]:
    """Accuracy of labels, or root mean square error and R² of numbers; empty where neither is plain."""
    answers = np.asarray(outputs.get("predictions", np.empty(0)))
    if answers.shape != target.shape:
        return {}
    if signature.classes is not None:
        return {"accuracy": float(np.mean(answers.astype(str) == target.astype(str)))}
    if answers.dtype.kind not in "iuf" or target.dtype.kind not in "iuf":
        return {}
    truth, guess = target.astype(np.float64), answers.astype(np.float64)
    spread = float(((truth - truth.mean()) ** 2).sum())
    errors = float(((truth - guess) ** 2).sum())
    quality = {"rmse": float(np.sqrt(errors / len(truth)))}
    return quality | ({"r2": 1.0 - errors / spread} if spread else {})
