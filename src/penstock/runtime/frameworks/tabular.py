"""Between named tensors and what tabular libraries take and give: the part every adapter of them shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput, ModelFailed, PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Array, Tensors, dtype_of

PREDICTIONS, PROBABILITIES = "predictions", "probabilities"


def reader(signature: Signature, options: Mapping[str, Any]) -> Callable[[Tensors], Any]:
    """What turns the named tensors of a call into the estimator's own input, chosen once for the layout.

    `matrix`: the array of the only input. `table`: a DataFrame with the signature's columns in their order.
    `tensors`: the dict as it is.

    `options["columns"]` maps a column of a table to what its values cannot tell:
    `{"dtype": "category", "categories": [...], "ordered": false}` (categories default to the signature's),
    `{"dtype": "object"}` (text with `None` for missing) or any other pandas dtype's name. Without it text becomes
    what pandas itself makes of text, with NaN for missing, as its CSV and Parquet readers give it in training.
    """
    if signature.layout == "tensors":
        return dict
    if signature.layout == "matrix":
        name = signature.inputs[0].name
        return lambda inputs: inputs[name]
    import pandas as pd

    columns = options.get("columns", {})
    makers = [(field.name, _column(pd, field, columns.get(field.name, {}))) for field in signature.inputs]
    return lambda inputs: pd.DataFrame({name: make(inputs[name].reshape(-1)) for name, make in makers}, copy=False)


def _column(pd: Any, field: Field, options: Mapping[str, Any]) -> Callable[[Array], Any]:
    dtype = options.get("dtype", "")
    if dtype == "category":
        kind = pd.CategoricalDtype(
            list(options.get("categories", field.categories or ())), options.get("ordered", False)
        )
        # By position: a value that is no category is missing, which pandas is about to stop doing by itself.
        return lambda array: pd.Categorical.from_codes(kind.categories.get_indexer(array), dtype=kind)
    if dtype == "object":
        return lambda array: pd.Series(array, dtype=object)
    if dtype:
        return lambda array: pd.array(array, dtype=dtype)
    if field.datatype != "BYTES":
        return lambda array: array
    return lambda array: pd.Series(_nan_for_none(array))


def _nan_for_none(array: Array) -> Array:
    missing = np.fromiter((value is None for value in array), np.bool_, len(array))
    if not missing.any():
        return array
    # A copy: the caller's arrays are not ours to change.
    array = array.copy()
    array[missing] = np.nan
    return array


class Outputs:
    """Gives results the names, datatypes and ranks the signature promises.

    Raises ModelFailed("wrong-output") when a result cannot have them without changing its values.
    """

    def __init__(self, signature: Signature) -> None:
        self._fields = {field.name: (field, dtype_of(field.datatype)) for field in signature.outputs}
        self._batched = signature.batched
        self.wants_probabilities = PROBABILITIES in self._fields and signature.layout != "tensors"
        classes = signature.classes or ()
        self.classes: Array = np.empty(len(classes), object)
        self.classes[:] = classes
        if PREDICTIONS in self._fields and self._fields[PREDICTIONS][1] != np.dtype(object):
            self.classes = self.classes.astype(self._fields[PREDICTIONS][1])

    def labels(self, probabilities: Array) -> Array:
        """The label of the largest probability in each row; the first of equals."""
        labels: Array = self.classes[probabilities.argmax(axis=1)]
        return labels

    def pack(self, results: Mapping[str, Any], rows: int) -> Tensors:
        """The outputs of a call of `rows` rows."""
        if missing := self._fields.keys() - results.keys():
            raise ModelFailed("wrong-output", f"the model gave no {', '.join(sorted(missing))}")
        return {name: self._cast(field, dtype, results[name], rows) for name, (field, dtype) in self._fields.items()}

    def _cast(self, field: Field, dtype: np.dtype[Any], values: Any, rows: int) -> Array:
        array = np.asarray(values)
        if self._batched and field.shape[:1] == (-1,):
            # One column is what several libraries give where others give none.
            if array.ndim == len(field.shape) + 1 and array.shape[-1] == 1:
                array = array.reshape(array.shape[:-1])
            if array.ndim == 0 or len(array) != rows:
                raise ModelFailed("wrong-output", f"{field.name} has shape {list(array.shape)} for {rows} rows")
        if array.ndim != len(field.shape) or any(
            want not in (-1, got) for want, got in zip(field.shape, array.shape, strict=True)
        ):
            raise ModelFailed(
                "wrong-output", f"{field.name} has shape {list(array.shape)}, the signature says {list(field.shape)}"
            )
        return _as(array, dtype, field.name)


def _as(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    if array.dtype == dtype and dtype != np.dtype(object):
        return array
    if dtype == np.dtype(object):
        out = np.empty(array.size, object)
        # tolist: elements leave as Python's own str, not as numpy's subclass that JSON encoders refuse.
        out[:] = [v if v is None or isinstance(v, (str, bytes)) else str(v) for v in array.ravel().tolist()]
        return out.reshape(array.shape)
    try:
        cast = array.astype(dtype)
    except (TypeError, ValueError) as error:
        raise ModelFailed("wrong-output", f"{name} is not {dtype}: {error}") from None
    # FP64 to FP32 only rounds; 1.5 as an integer, or 300 as UINT8, would be another value.
    if dtype.kind != "f" and not np.array_equal(cast, array):
        raise ModelFailed("wrong-output", f"{name} holds {array.dtype} values that are not {dtype}")
    return cast


def failed(error: Exception) -> PenstockError:
    """What the caller is told when the model raised `error`: the model's own words, shortened."""
    if isinstance(error, PenstockError):
        return error
    return ModelFailed("model-failed", f"the model raised {type(error).__name__}: {str(error)[:300]}")


def damaged(path: Path, error: Exception) -> InvalidInput:
    """What is said of a file its library cannot read: the first line of the library's words; stacks follow it."""
    words = (str(error).splitlines() or [type(error).__name__])[0]
    return InvalidInput("damaged-model", f"{path.name} cannot be read: {words[:300]}", hint="pack the model again")
