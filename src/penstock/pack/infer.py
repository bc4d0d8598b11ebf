"""The signature of a model from a sample and from what the model itself says and does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, ModelFailed, PenstockError
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import Tensors, datatype_of
from penstock.pack.arrays import Values
from penstock.pack.equivalence import take
from penstock.pack.original import Description
from penstock.pack.sample import Sample

UNSEEN_TEXT = "penstock-unseen-category"
_PROBED = 1000
Probe = Callable[[Signature, Tensors, dict[str, Any]], Tensors]


def fit_sample(sample: Sample, description: Description, sensitive: tuple[str, ...] = ()) -> Sample:
    """The sample with its columns in the order of training and the sensitive ones marked.

    Raises InvalidInput("wrong-columns") when the sample does not have the columns the model was trained with.
    """
    names = [field.name for field in sample.fields]
    if sample.layout == "table" and description.features is not None:
        names = _in_order(names, description)
    elif sample.layout == "matrix":
        _check_width(sample.fields[0].shape[1], description)
    elif sample.layout == "table" and description.width not in (None, len(names)):
        raise InvalidInput(
            "wrong-columns",
            f"the model was trained with {description.width} features, the sample has {len(names)} columns",
            hint="name the label with --target, and leave out columns that are no inputs",
        )
    if unknown := sorted(set(sensitive) - set(names)):
        raise InvalidInput("unknown-column", f"--sensitive names {unknown[0]!r}, which is no input of the model")
    fields = {field.name: msgspec.structs.replace(field, sensitive=field.name in sensitive) for field in sample.fields}
    return msgspec.structs.replace(
        sample,
        fields=tuple(fields[name] for name in names),
        inputs={name: sample.inputs[name] for name in names},
        options=_without_values(sample.options, sensitive),
    )


def _without_values(options: dict[str, Any], sensitive: tuple[str, ...]) -> dict[str, Any]:
    """The adapters' options without the categories of sensitive columns; a closed column's stand in its field."""
    columns = {
        name: {key: value for key, value in told.items() if key != "categories" or name not in sensitive}
        for name, told in options.get("columns", {}).items()
    }
    return {**options, "columns": columns} if columns else {}


def _in_order(names: list[str], description: Description) -> list[str]:
    features = description.features or ()
    # LightGBM knows "mean radius" as "mean_radius".
    spoken = {name.replace(" ", "_") if description.runtime == "lightgbm" else name: name for name in names}
    missing = [name for name in features if name not in spoken]
    extra = [name for known, name in spoken.items() if known not in features]
    if missing or extra:
        pairs = (("lacks", missing), ("has besides", extra))
        said = [f"{what} {', '.join(map(repr, some[:5]))}" for what, some in pairs if some]
        raise InvalidInput(
            "wrong-columns",
            f"the sample {' and '.join(said)}, compared with the columns the model was trained with",
            hint="name the label with --target, and leave out columns that are no inputs",
        )
    return [spoken[name] for name in features]


def _check_width(width: int, description: Description) -> None:
    if description.features is not None:
        raise InvalidInput(
            "wrong-columns",
            "the model was trained with named columns, the sample is an array without names",
            hint=f"give a DataFrame, CSV or Parquet file with {', '.join(description.features[:10])}",
        )
    if description.width not in (None, width):
        raise InvalidInput(
            "wrong-columns", f"the model was trained with {description.width} features, the sample has {width}"
        )


def infer_signature(sample: Sample, description: Description, probe: Probe) -> Signature:
    """What the model takes and gives; probes the model with the sample and with categories it never saw.

    Raises ModelFailed when it cannot answer the sample, InvalidInput when what it answers has no datatype.
    """
    draft = Signature(inputs=sample.fields, outputs=(), layout=sample.layout, classes=description.classes)
    try:
        rows = min(sample.rows, _PROBED)
        answers = probe(draft, take(sample.inputs, slice(0, rows)), sample.options)
    except PenstockError as error:
        raise ModelFailed(
            "sample-refused",
            f"the model cannot answer the sample: {error.message}",
            hint="the sample must look like the rows the model was trained with, without the label",
        ) from error
    fields = tuple(_closed(field, sample, draft, description, probe) for field in sample.fields)
    outputs = tuple(_output(name, array, rows) for name, array in _outputs(description, answers).items())
    classes = description.classes
    return Signature(inputs=fields, outputs=outputs, layout=sample.layout, classes=classes)


def _outputs(description: Description, answers: Tensors) -> Tensors:
    if description.classes is None or description.runtime in ("sklearn", "python", "onnx"):
        return answers
    # A booster answers scores; its adapter turns them into labels and probabilities.
    rows = len(answers["predictions"])
    scores = np.float64 if description.runtime != "xgboost" else np.float32
    return {
        "predictions": np.asarray([description.classes[0]] * rows),
        "probabilities": np.zeros((rows, len(description.classes)), scores),
    }


def _output(name: str, array: Values, rows: int) -> Field:
    array = np.asarray(array)
    if array.ndim == 2 and array.shape[1] == 1 and name == "predictions":
        array = array[:, 0]
    if array.ndim == 0 or len(array) != rows:
        raise ModelFailed(
            "wrong-output", f"the model's {name} have shape {list(array.shape)} for {rows} rows; one per row is needed"
        )
    return Field(name=name, datatype=datatype_of(array), shape=(-1, *array.shape[1:]))


def _closed(field: Field, sample: Sample, draft: Signature, description: Description, probe: Probe) -> Field:
    """The field with the categories the model knows, closed when the model cannot take another one."""
    learned = description.categories.get(field.name, ())
    if sample.layout != "table" or (field.datatype != "BYTES" and field.categories is None and not learned):
        return field
    if learned and field.datatype != "BYTES":
        # Numbers that an encoder takes for categories: 7 is not between 6 and 8 to it.
        learned = tuple(np.array(learned).astype(sample.inputs[field.name].dtype).tolist())
        field = msgspec.structs.replace(field, categories=learned)
    values = sample.inputs[field.name][:8].copy()
    values[:] = unseen_value(field, values)
    rows = {name: array[:8] for name, array in sample.inputs.items()} | {field.name: values}
    try:
        probe(draft, rows, sample.options)
        closed = False
    except PenstockError:
        # It answered the same rows with their own values a moment ago: the new category is what it cannot take.
        closed = True
    if not closed and field.sensitive:
        return msgspec.structs.replace(field, categories=None)
    known = _all_categories(field, sample.inputs[field.name], learned, closed)
    return msgspec.structs.replace(field, categories=known, closed=closed)


def _all_categories(
    field: Field, values: Values, learned: tuple[Scalar, ...], closed: bool
) -> tuple[Scalar, ...] | None:
    if not closed:
        return field.categories
    # A closed column refuses what is not listed: the encoder's own list first, which a small sample does not show.
    return learned or field.categories or tuple(sorted({v for v in values.tolist() if v is not None and v == v}))


def unseen_value(field: Field, values: Values) -> Any:
    """A value of the field's datatype that is none of its categories."""
    if field.datatype == "BYTES":
        return UNSEEN_TEXT
    if field.datatype == "BOOL":
        return values[0]
    highest = max((float(value) for value in field.categories or (0,)), default=0.0)
    limit = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else np.inf
    return values.dtype.type(min(highest + 1, limit))
