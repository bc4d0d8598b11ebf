"""Runs a converted estimator beside the original and says how far apart they are."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from penstock.core.signature import Field, Signature
from penstock.core.tensors import datatype_of
from penstock.pack.convert import candidates, uses_builtin_operators
from penstock.pack.convert.values import MISSING_TEXT


def signature_of(x: Any, classes: Any = None) -> Signature:
    known = None if classes is None or isinstance(classes, list) else tuple(np.asarray(classes).tolist())
    if isinstance(x, pd.DataFrame):
        fields = tuple(
            Field(name=str(name), datatype=datatype_of(array), shape=(-1,), nullable=bool(x[name].isna().any()))
            for name, array in columns_of(x).items()
        )
        return Signature(inputs=fields, outputs=(), layout="table", classes=known or None)
    field = Field(name="x", datatype=datatype_of(x), shape=(-1, x.shape[1]))
    return Signature(inputs=(field,), outputs=(), layout="matrix", classes=known or None)


def columns_of(x: pd.DataFrame) -> dict[str, Any]:
    return {name: _column(x[name]) for name in x}


def _column(series: pd.Series) -> Any:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind != "O":
        return series.to_numpy()
    out = np.empty(len(series), object)
    out[:] = [MISSING_TEXT if pd.isna(value) else value for value in series]
    return out


def feeds(x: Any) -> dict[str, Any]:
    if isinstance(x, pd.DataFrame):
        return {str(name): array[:, None] for name, array in columns_of(x).items()}
    return {"x": x}


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def convert(estimator: Any, x: Any, kind: str = "sklearn") -> bytes:
    with warnings.catch_warnings():
        # LightGBM and others look at attributes that scikit-learn 1.9 is about to rename.
        warnings.simplefilter("ignore")
        (best, *_) = candidates(estimator, kind, signature_of(x, getattr(estimator, "classes_", None)))
    assert uses_builtin_operators(best.model)
    return best.model


def answers(model: bytes, x: Any) -> dict[str, Any]:
    session = session_of(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds(x)), strict=True))


def originals(estimator: Any, x: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = np.asarray(estimator.predict(x))
        found = {"predictions": said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said}
        if hasattr(estimator, "predict_proba"):
            found["probabilities"] = estimator.predict_proba(x)
    return found


def difference(got: Mapping[str, Any], want: Mapping[str, Any]) -> float:
    """The largest difference of scores, relative where they are large; labels and shapes must be equal."""
    assert got.keys() == want.keys()
    largest = 0.0
    for name, expected in want.items():
        assert got[name].shape == expected.shape, f"{name}: {got[name].shape} is not {expected.shape}"
        if expected.dtype.kind != "f":
            wrong = np.flatnonzero(got[name] != expected)
            assert not len(wrong), f"{name} differ in rows {wrong[:5]}: {got[name][wrong[:5]]}, {expected[wrong[:5]]}"
        else:
            apart = np.abs(got[name] - expected) / np.maximum(1.0, np.abs(expected))
            assert np.array_equal(np.isnan(got[name]), np.isnan(expected))
            largest = max(largest, float(np.nanmax(apart)))
    return largest


def check(estimator: Any, x: Any, *others: Any, kind: str = "sklearn", within: float = 1e-12) -> bytes:
    """Convert, and compare on the rows of x and of others; returns the model."""
    model = convert(estimator, x, kind)
    for rows in (x, *others):
        apart = difference(answers(model, rows), originals(estimator, rows))
        assert apart <= within, f"scores differ by {apart}"
    return model
