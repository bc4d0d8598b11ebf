"""The way in: an estimator and its signature, to ONNX models."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import numpy as np

from penstock.core.signature import Field, Signature
from penstock.core.tensors import dtype_of
from penstock.pack.convert.candidate import Candidate, CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.graph import ELEMENT_TYPES, Graph, NeedsVersion4
from penstock.pack.convert.rules import RULES
from penstock.pack.convert.values import TEXT, Classified, Frame, Value

_PACKAGES = {"sklearn": "scikit-learn"}


def candidates(estimator: Any, kind: str, signature: Signature) -> list[Candidate]:
    """ONNX forms of a live estimator, in order of preference; raises CannotConvert where none is known to be exact.

    `kind` is "sklearn", "xgboost", "lightgbm" or "catboost". The graph's inputs are the signature's: `x` [N, n] for
    a matrix, one [N, 1] per column for a table, text with `values.MISSING_TEXT` in place of a missing string. Its
    outputs are `predictions` and, for a classifier that has them, `probabilities`.
    """
    if signature.layout == "tensors":
        raise CannotConvert("only a matrix or a table of columns can be converted")
    used = {kind}
    try:
        try:
            model, notes = _model(estimator, signature, 5, used)
        except NeedsVersion4:
            model, notes = _model(estimator, signature, 4, used)
            notes.add("leaves with several values leave the tree operator in single precision")
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Fitted estimators are read by attributes that another version of their library may lack or change.
        # That costs speed and must not cost the bundle: the original is served then.
        raise CannotConvert(f"the converter failed with {type(error).__name__}: {error}") from error
    # A module's own word: the same module comes from several distributions (xgboost, xgboost-cpu).
    versions = {_PACKAGES.get(name, name): str(sys.modules[name].__version__) for name in used}
    versions |= {name: importlib.metadata.version(name) for name in ("onnx", "penstock")}
    note = "; ".join(sorted(notes))
    return [Candidate(name="float64", model=model, converter=dict(sorted(versions.items())), note=note)]


def _model(estimator: Any, signature: Signature, ml_version: int, used: set[str]) -> tuple[bytes, set[str]]:
    graph = Graph(ml_version)
    context = Context(graph, RULES, used)
    frame = _frame(graph, estimator, signature)
    asked = {field.name: field for field in signature.outputs}
    classes = _classes(estimator, signature)
    if not len(classes):
        outputs = {"predictions": context.regress(estimator, frame)}
    else:
        said = context.classify(estimator, frame)
        outputs = {"predictions": _labels(context, classes, said)}
        if said.probabilities is not None:
            outputs["probabilities"] = said.probabilities
    if missing := sorted(asked.keys() - outputs.keys()):
        raise CannotConvert(f"the converted model has no output {missing[0]!r}")
    model = graph.build({name: _as_asked(context, value, asked.get(name)) for name, value in outputs.items()})
    return model, context.notes


def _frame(graph: Graph, estimator: Any, signature: Signature) -> Frame:
    known = {field.name: field for field in signature.inputs}
    names = list(known)
    if signature.layout == "table" and _goes_by_name(estimator):
        # The estimator picks its columns by name; the rest of the table must not reach it.
        names = [str(name) for name in estimator.feature_names_in_]
        if lacking := [name for name in names if name not in known]:
            raise CannotConvert(f"the model was trained with a column {lacking[0]!r} that the signature has not")
    values = {field.name: _input(graph, field) for field in signature.inputs}
    return Frame(tuple(values[name] for name in names), signature.layout == "table")


def _goes_by_name(estimator: Any) -> bool:
    # LightGBM takes columns by position, and the names it reports are its own spelling of them.
    return hasattr(estimator, "feature_names_in_") and not class_name(estimator).startswith("lightgbm.")


def _input(graph: Graph, field: Field) -> Value:
    dtype = TEXT if field.datatype == "BYTES" else dtype_of(field.datatype).name
    if dtype not in ELEMENT_TYPES:
        raise CannotConvert(f"the input {field.name!r} is {field.datatype}, which ONNX Runtime cannot compute with")
    if field.nullable and dtype != TEXT and not dtype.startswith("float"):
        raise CannotConvert(f"the input {field.name!r} is {field.datatype} with missing values, which have no form")
    width = field.shape[1] if len(field.shape) == 2 else 1
    return graph.input(field.name, dtype, width, nullable=field.nullable)


def _classes(estimator: Any, signature: Signature) -> Any:
    """The labels of a classifier; none for a regressor. A plain booster has no labels but the signature's."""
    own = getattr(estimator, "classes_", ())
    if isinstance(own, list) and own and isinstance(own[0], np.ndarray):
        raise CannotConvert("a classifier of several outputs has no single list of classes")
    if len(own) and signature.classes is not None and np.asarray(own).tolist() != list(signature.classes):
        raise CannotConvert("the signature lists other classes than the model, or in another order")
    return np.asarray(own if len(own) else signature.classes or ())


def _labels(context: Context, classes: Any, said: Classified) -> Value:
    """The classes themselves in place of their indices."""
    if classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes))):
        return said.index
    kind = (
        TEXT
        if classes.dtype.kind in "OUST"
        else {"i": "int64", "u": "int64"}.get(classes.dtype.kind, classes.dtype.name)
    )
    if kind == TEXT and not all(isinstance(label, str) for label in classes.tolist()):
        raise CannotConvert("the classes are neither all text nor all numbers")
    if kind not in ELEMENT_TYPES:
        raise CannotConvert(f"classes of dtype {classes.dtype} have no ONNX form")
    labels = classes.astype(object) if kind == TEXT else classes.astype(kind)
    return Value(context.graph.op("Gather", context.graph.constant(labels), said.index.name), kind, 0)


def _as_asked(context: Context, value: Value, field: Field | None) -> Value:
    """The output in the signature's datatype."""
    if field is None:
        return value
    return context.cast(value, TEXT if field.datatype == "BYTES" else dtype_of(field.datatype).name)
