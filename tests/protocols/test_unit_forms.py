"""One value is one unit, whichever contract brings it: with a name or without, as text, as JSON, as bytes."""

import base64
import json

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.core.routes import Unit
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, to_bytes
from penstock.protocols.azureml.score import SCORE
from penstock.protocols.csv_text import write_csv
from penstock.protocols.form import ModelView
from penstock.protocols.mlflow.form import INVOCATIONS
from penstock.protocols.oip.form import INFER
from penstock.protocols.oip.generate import GENERATE
from penstock.protocols.oip.grpc_form import GRPC_INFER
from penstock.protocols.oip.grpc_infer import CONTENTS, message
from penstock.protocols.openai.embeddings import EMBEDDINGS
from penstock.protocols.rows import ROWS
from penstock.protocols.tfserving.examples import REGRESS
from penstock.protocols.tfserving.grpc_form import GRPC_PREDICT
from penstock.protocols.tfserving.grpc_predict import message as tf_message
from penstock.protocols.tfserving.grpc_tensors import NUMBERS, put
from penstock.protocols.tfserving.predict import PREDICT
from penstock.protocols.unit import unit_reader
from penstock.protocols.vertex.predict import VERTEX

AGE = Field(name="age", datatype="FP64", shape=(-1,))
OUTPUT = Field(name="y", datatype="FP64", shape=(-1,))
VECTOR = Field(name="embedding", datatype="FP32", shape=(-1, 2))
AGES = [1.5, 2.5]
CSV, LINES = b"text/csv", b"application/jsonlines"
SHAPES = ("column", "only column", "vector", "matrix")
NUMBERS_OF = {
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    "FP64": st.floats(allow_nan=False, allow_infinity=False).map(np.float64),
    "BOOL": st.booleans().map(np.bool_),
    **{
        name: st.integers(int(np.iinfo(DTYPES[name]).min), int(np.iinfo(DTYPES[name]).max)).map(DTYPES[name].type)
        for name in ("INT8", "UINT16", "INT32", "INT64", "UINT64")
    },
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=20)
CASE = st.one_of(
    st.tuples(st.just("BYTES"), st.sampled_from(SHAPES[:2]), TEXT, TEXT),
    *(st.tuples(st.just(datatype), st.sampled_from(SHAPES), values, values) for datatype, values in NUMBERS_OF.items()),
)


def signature_of(datatype, shape, *, outputs=(OUTPUT,)):
    field = Field(name="who", datatype=datatype, shape=(-1,) if "column" in shape else (-1, 2))
    inputs = (field,) if shape in ("only column", "matrix") else (AGE, field)
    return Signature(inputs=inputs, outputs=outputs, layout="matrix" if shape == "matrix" else "tensors")


def array_of(datatype, shape, first, second):
    """Two rows; `first` is the first value of the first."""
    values = [first, second] if "column" in shape else [[first, second], [second, first]]
    return np.array(values, DTYPES[datatype])


def calls(datatype, shape, array):
    """(form, header lines, body) of the same call in everything that a node takes."""
    yield from by_rows(datatype, shape, array.tolist())
    if datatype == "BOOL":
        # A truth may be written 0 or 1.
        yield from by_rows(datatype, shape, array.astype(int).tolist())
    yield from tensors(datatype, array, shape in ("only column", "matrix"))


def by_rows(datatype, shape, values):
    """Those in which values stand by rows or columns."""
    only = shape in ("only column", "matrix")
    names = ["who"] if only else ["age", "who"]
    named = [{"who": value} if only else {"who": value, "age": age} for value, age in zip(values, AGES, strict=True)]
    listed = [[row[name] for name in names] for row in named]
    bare = values if only else listed
    columns = {name: [row[name] for row in named] for name in names}
    split = {"columns": names[::-1], "data": [row[::-1] for row in listed]}
    for form, key, said in (
        (ROWS, "rows", named), (INVOCATIONS, "rows", named), (INVOCATIONS, "dataframe_records", named),
        (INVOCATIONS, "dataframe_split", split), (INVOCATIONS, "dataframe_split", {"data": bare}),
        (INVOCATIONS, "instances", named), (INVOCATIONS, "instances", bare), (INVOCATIONS, "inputs", columns),
        (INVOCATIONS, "inputs", bare), (INVOCATIONS, "inputs", named), (SCORE, "input_data", split),
        (SCORE, "data", bare), (SCORE, "data", columns), (SCORE, "instances", bare), (VERTEX, "instances", named),
        (VERTEX, "instances", bare), (PREDICT, "instances", named), (PREDICT, "inputs", columns),
        (REGRESS, "examples", named),
        *([(PREDICT, "instances", values), (PREDICT, "inputs", values)] if only else []),
    ):  # fmt: skip
        yield form, {}, json.dumps({key: said}).encode()
    if not only:
        # A token that JSON has not, in another input.
        yield PREDICT, {}, json.dumps({"instances": [row | {"age": float("inf")} for row in named]}).encode()
    yield GENERATE, {}, json.dumps(named[0]).encode()
    yield INVOCATIONS, {b"content-type": LINES}, b"\n" + b"\n".join(json.dumps(row).encode() for row in named)
    if shape != "vector":
        texts = [[_csv(part) for part in (row if shape == "matrix" else line)]
                 for row, line in zip(values, listed, strict=True)]  # fmt: skip
        heads = ["first", "second"] if shape == "matrix" else names
        yield INVOCATIONS, {b"content-type": b"text/csv; header=absent"}, write_csv(texts).encode()
        yield SCORE, {b"content-type": b"text/csv; header=present"}, write_csv([heads, *texts]).encode()
        if shape != "only column":
            yield INVOCATIONS, {b"content-type": CSV}, write_csv([heads, *texts]).encode()
    if datatype == "BYTES":
        coded = [{"b64": base64.b64encode(value.encode()).decode()} for value in values]
        rows = [row | {"who": one} for row, one in zip(named, coded, strict=True)]
        for form in (INVOCATIONS, VERTEX, PREDICT):
            yield form, {}, json.dumps({"instances": rows}).encode()
            if only:
                yield form, {}, json.dumps({"instances": coded}).encode()
        if only and all(values):
            yield EMBEDDINGS, {}, json.dumps({"model": "m", "input": values}).encode()


def _csv(value):
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def tensors(datatype, array, only):
    given = {"who": (datatype, array)} if only else {"age": ("FP64", np.array(AGES)), "who": (datatype, array)}
    heads = [{"name": name, "datatype": kind, "shape": list(one.shape)} for name, (kind, one) in given.items()]
    raw = {name: to_bytes(one) for name, (_, one) in given.items()}
    json_inputs = [head | {"data": given[head["name"]][1].ravel().tolist()} for head in heads]
    numbered = [head | {"data": [int(value) if value is True or value is False else value for value in head["data"]]}
                for head in json_inputs]  # fmt: skip
    binary = [head | {"parameters": {"binary_data_size": len(raw[head["name"]])}} for head in heads]
    head = json.dumps({"inputs": binary}).encode()
    length = b"inference-header-content-length"
    for form in (INFER, INVOCATIONS, SCORE):
        yield form, {}, json.dumps({"inputs": json_inputs}).encode()
        yield form, {}, json.dumps({"inputs": numbered}).encode()
        yield form, {length: b"%d" % len(head)}, head + b"".join(raw.values())
    if only:
        yield INFER, {length: b"0"}, to_bytes(array[:1])
    contents = message("ModelInferRequest")(inputs=heads)
    for tensor in contents.inputs:
        kind, one = given[tensor.name]
        said = [value.encode() for value in one.ravel().tolist()] if kind == "BYTES" else one.ravel().tolist()
        getattr(tensor.contents, CONTENTS[kind]).extend(said)
    yield GRPC_INFER, {}, contents.SerializeToString()
    contents = message("ModelInferRequest")(inputs=heads, raw_input_contents=list(raw.values()))
    yield GRPC_INFER, {}, contents.SerializeToString()
    typed, whole = tf_message("PredictRequest")(), tf_message("PredictRequest")()
    for name, (kind, one) in given.items():
        put(typed.inputs[name], one)
        if kind == "BYTES":
            put(whole.inputs[name], one)
        else:
            whole.inputs[name].dtype, whole.inputs[name].tensor_content = NUMBERS[kind], raw[name]
            for size in one.shape:
                whole.inputs[name].tensor_shape.dim.add(size=size)
    yield GRPC_PREDICT, {}, typed.SerializeToString()
    yield GRPC_PREDICT, {}, whole.SerializeToString()


def said(value):
    """What a unit is called, told by the value as the model gets it."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_):
        return str(value).lower()
    return str(int(value)) if value == int(value) else str(value)


@given(CASE)
@example(("FP32", "column", np.float32(0.1), np.float32(16777217)))
@example(("FP32", "matrix", np.float32(0.1), np.float32(3e38)))
@example(("BYTES", "column", 'say ""\n"1,\r\n2', "7"))
@example(("BYTES", "only column", "1.0", ""))
@settings(max_examples=40)
def test_one_value_is_one_unit_in_every_form(case):
    datatype, shape, first, second = case
    array = array_of(datatype, shape, first, second)
    for form, headers, body in calls(datatype, shape, array):
        outputs = (VECTOR,) if form is EMBEDDINGS else (OUTPUT,)
        signature = signature_of(datatype, shape, outputs=outputs)
        what = (form.name, headers, body)
        bound = None
        if b"Infinity" not in body:
            with np.errstate(over="ignore"):
                bound = form.codec(ModelView("m", "1", signature)).decode(body, headers).inputs["who"]
        # It is a call, and the model gets that value.
        assert bound is None or bound.ravel()[0] == array.ravel()[0], what
        assert unit_reader(Unit(field="who"), [signature])(headers, body, form) == said(array.ravel()[0]), what
