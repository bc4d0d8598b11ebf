"""Steps that skl2onnx converts well, taken into our graph one by one.

A class is listed when its conversion was seen to be equal (docs/decisions/convert-coverage.md); others are refused,
because skl2onnx converts some of them to graphs that answer differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.graph import OPSET, NeedsVersion4
from penstock.pack.convert.values import TEXT, Classified, Frame, Value

_DTYPES = {1: "float32", 6: "int32", 7: "int64", 8: TEXT, 9: "bool", 11: "float64"}
_OLDER_TREES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}


def transform(context: Context, estimator: Any, x: Frame) -> Frame:
    """A numeric transformer."""
    (out,) = _include(context, estimator, x)
    return Frame((out,))


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """A classifier; its labels become indices again."""
    label, *shares = _include(context, estimator, x)
    known = np.asarray(estimator.classes_)
    if label.dtype == "int64" and np.array_equal(known, np.arange(len(known))):
        index = label
    elif label.dtype in ("int64", TEXT):
        keys = known.astype(object if label.dtype == TEXT else np.int64)
        name = context.graph.op(
            "LabelEncoder",
            label.name,
            keys_tensor=keys,
            values_tensor=np.arange(len(known)),
            default_tensor=np.array([-1]),
        )
        index = Value(name, "int64", 0)
    else:
        raise CannotConvert(f"{class_name(estimator)} has labels of {label.dtype}")
    return Classified(index, shares[0] if shares and hasattr(estimator, "predict_proba") else None)


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """A regressor."""
    out = _include(context, estimator, x)[0]
    return context.flat(out) if out.width == 1 else out


def _include(context: Context, estimator: Any, x: Frame) -> list[Value]:
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    from penstock.runtime.ort import onnxruntime

    context.used.add("skl2onnx")
    width = x.width
    problem = "nothing was tried"
    for dtype, kind in (("float64", DoubleTensorType), ("float32", FloatTensorType)):
        options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
        try:
            model = skl2onnx.convert_sklearn(
                estimator,
                initial_types=[("x", kind([None, width]))],
                options=options,
                target_opset={"": OPSET, "ai.onnx.ml": 3},
            )
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            arrays = session.run(None, {"x": np.zeros((2, width), dtype)})
        except Exception as error:
            # Converters fail in as many ways as there are; each means that this precision is not to be had.
            problem = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        if context.graph.ml_version >= 5 and any(node.op_type in _OLDER_TREES for node in model.graph.node):
            raise NeedsVersion4
        if dtype == "float32":
            context.notes.add(f"{class_name(estimator)} computes in single precision")
        names = context.graph.include(model, {"x": context.matrix(x, dtype).name})
        types = [_DTYPES[output.type.tensor_type.elem_type] for output in model.graph.output]
        widths = [array.shape[1] if array.ndim > 1 else 0 for array in arrays]
        return [Value(*parts) for parts in zip(names, types, widths, strict=True)]
    raise CannotConvert(f"skl2onnx cannot convert {class_name(estimator)}: {problem}")


def _with_equal_weights(rule: Any) -> Any:
    def checked(context: Context, estimator: Any, x: Frame) -> Any:
        if estimator.weights != "uniform":
            raise CannotConvert(f"{class_name(estimator)} weights neighbours, which skl2onnx converts wrongly")
        return rule(context, estimator, x)

    return checked


TRANSFORMS = {"sklearn.KernelPCA": transform}
CLASSIFIERS = {
    **dict.fromkeys(
        (
            "sklearn.SVC",
            "sklearn.NuSVC",
            "sklearn.GaussianNB",
            "sklearn.BernoulliNB",
            "sklearn.MultinomialNB",
            "sklearn.ComplementNB",
        ),
        classes,
    ),
    "sklearn.KNeighborsClassifier": _with_equal_weights(classes),
}
REGRESSORS = {
    **dict.fromkeys(
        (
            "sklearn.SVR",
            "sklearn.NuSVR",
            "sklearn.GaussianProcessRegressor",
            "sklearn.PLSRegression",
            "sklearn.KMeans",
        ),
        values,
    ),
    "sklearn.KNeighborsRegressor": _with_equal_weights(values),
}
