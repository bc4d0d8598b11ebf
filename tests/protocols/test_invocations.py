"""`/invocations` and `/score`: every key, each layout of model, and the form of the answer."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput, PenstockError, UnsupportedMedia
from penstock.core.signature import Field, Signature
from penstock.protocols.azureml.score import SCORE
from penstock.protocols.form import ModelView
from penstock.protocols.mlflow.form import INVOCATIONS
from penstock.protocols.mlflow.problems import failure
from penstock.protocols.problems import STATUS
from penstock.protocols.vertex.predict import VERTEX

LABEL = Field(name="label", datatype="BYTES", shape=(-1,))
SCORES = Field(name="scores", datatype="FP64", shape=(-1, 2))
COLUMNS = (
    Field(name="income", datatype="FP64", shape=(-1,), nullable=True),
    Field(name="age", datatype="INT64", shape=(-1,)),
    Field(name="city", datatype="BYTES", shape=(-1,)),
)
TABLE = Signature(inputs=COLUMNS, outputs=(LABEL,), layout="table")
MATRIX = Signature(inputs=(Field(name="x", datatype="FP32", shape=(-1, 2)),), outputs=(LABEL, SCORES), layout="matrix")
CHAT = Signature(inputs=(Field(name="messages", datatype="BYTES", shape=(-1,)),), outputs=(LABEL,), layout="tensors")
PROMPT = Signature(inputs=(Field(name="prompt", datatype="BYTES", shape=(-1,)),), outputs=(LABEL,), layout="tensors")
BYTES = Signature(inputs=(Field(name="image", datatype="BYTES", shape=(-1,)),), outputs=(LABEL,), layout="tensors")
WHOLE = Signature(
    inputs=(Field(name="x", datatype="FP32", shape=(2, 2)),),
    outputs=(Field(name="y", datatype="FP32", shape=()),),
    layout="tensors",
    batched=False,
)
ROW = {"income": 1.5, "age": 30, "city": "Oslo"}
SPLIT = {"columns": ["city", "income", "age"], "index": [0], "data": [["Oslo", 1.5, 30]]}
LABELS = {"label": np.array(["yes"], object)}


def codec(signature, form=INVOCATIONS, *, text_only=True):
    return form.codec(ModelView("churn", "7", signature, text_only))


def decode(document, signature=TABLE, form=INVOCATIONS, headers=None, **more):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {name.replace("_", "-").encode(): value for name, value in (headers or {}).items()}
    return codec(signature, form, **more).decode(body, headers)


def answer(document, outputs, signature=TABLE, form=INVOCATIONS, headers=None):
    call = decode(document, signature, form, headers)
    body, kind = codec(signature, form).encode(call, outputs)
    return (json.loads(body) if b"/json\r" in kind else body.decode()), kind


def code_of(document, signature=TABLE, form=INVOCATIONS, headers=None):
    with pytest.raises(PenstockError) as refusal, np.errstate(over="ignore"):
        decode(document, signature, form, headers)
    return refusal.value.code


@pytest.mark.parametrize(
    ("form", "document"),
    [
        (INVOCATIONS, {"dataframe_records": [ROW]}),
        (INVOCATIONS, {"dataframe_records": [{**ROW, "unknown": [1]}]}),
        (INVOCATIONS, {"dataframe_split": SPLIT}),
        (INVOCATIONS, {"dataframe_split": {"data": [[1.5, 30, "Oslo"]]}}),
        (INVOCATIONS, {"instances": [ROW]}),
        (INVOCATIONS, {"instances": [[1.5, 30, "Oslo"]]}),
        (INVOCATIONS, {"inputs": {name: [value] for name, value in ROW.items()}}),
        (INVOCATIONS, {"inputs": {name: [[value]] for name, value in ROW.items()}}),
        (INVOCATIONS, {"inputs": ROW}),
        (INVOCATIONS, {"inputs": [ROW]}),
        (INVOCATIONS, {"rows": [ROW]}),
        (SCORE, {"input_data": SPLIT}),
        (SCORE, {"input_data": [[1.5, 30, "Oslo"]]}),
        (SCORE, {"data": [ROW]}),
        (SCORE, {"data": {name: [value] for name, value in ROW.items()}}),
        (SCORE, {"dataframe_split": SPLIT}),
        (VERTEX, {"instances": [ROW]}),
        (VERTEX, {"instances": [[1.5, 30, "Oslo"]]}),
    ],
)
def test_a_row_of_a_table_is_the_same_in_every_form(form, document):
    call = decode(document, form=form)
    assert {name: array.tolist() for name, array in call.inputs.items()} == {n: [v] for n, v in ROW.items()}
    assert (call.rows, call.inputs["age"].dtype) == (1, np.int64)


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]},
        {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
        {"dataframe_split": {"columns": [0, 1], "data": [[1, 2], [3, 4]]}},
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]},
    ],
)
def test_a_matrix_takes_columns_in_their_order(document):
    call = decode(document, MATRIX)
    assert call.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert call.inputs["x"].dtype == np.float32


def test_null_is_a_missing_value_where_one_may_be():
    assert np.isnan(decode({"instances": [{**ROW, "income": None}]}).inputs["income"][0])
    assert np.isnan(decode({"dataframe_records": [ROW, {"age": 1, "city": ""}]}).inputs["income"][1])
    assert code_of({"instances": [{**ROW, "age": None}]}) == "invalid-rows"


def test_parameters_go_with_the_call():
    assert decode({"instances": [ROW], "params": {"k": [1]}}).parameters == {"k": [1]}
    assert decode({"instances": [ROW], "parameters": {"k": 1}}).parameters == {"k": 1}
    assert decode({"instances": [ROW], "parameters": {"k": 1}}, form=VERTEX).parameters == {"k": 1}
    assert decode({"input_data": SPLIT, "params": {"k": 1}}, form=SCORE).parameters == {"k": 1}
    assert decode({"instances": [ROW], "params": None}).parameters is None
    for form in (INVOCATIONS, VERTEX):
        assert code_of({"instances": [ROW], "parameters": [1]}, form=form).startswith("invalid-in")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ([ROW], "invalid-invocation"),
        (5, "invalid-invocation"),
        ({}, "invalid-invocation"),
        ({"instances": [ROW], "inputs": [ROW]}, "invalid-invocation"),
        ({"input_data": SPLIT}, "invalid-invocation"),
        ({"dataframe_split": [1]}, "invalid-invocation"),
        ({"dataframe_split": {"columns": 1, "data": []}}, "invalid-invocation"),
        ({"dataframe_split": {**SPLIT, "index": [0, 1]}}, "invalid-invocation"),
        ({"dataframe_split": {**SPLIT, "index": []}}, "invalid-invocation"),
        ({"dataframe_split": {**SPLIT, "index": 0}}, "invalid-invocation"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, "invalid-rows"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, "duplicate-input"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1]]}}, "wrong-inputs"),
        ({"instances": []}, "empty-batch"),
        ({"instances": None}, "invalid-rows"),
        ({"instances": [ROW, 5]}, "invalid-rows"),
        ({"instances": [{**ROW, "age": "old"}]}, "invalid-rows"),
        ({"instances": [{**ROW, "age": 1.5}]}, "invalid-rows"),
        ({"instances": [{**ROW, "city": 5}]}, "invalid-rows"),
        ({"instances": [{**ROW, "age": 2**64}]}, "invalid-value"),
        ({"instances": [{"age": 1}]}, "wrong-inputs"),
        ({"inputs": {"age": [1, 2], "city": ["a"], "income": [1]}}, "unequal-rows"),
        ({"prompt": "hello"}, "no-language-input"),
        (b"", "invalid-json"),
        (b"\xff", "invalid-json"),
        (b"[" * 100_000, "invalid-json"),
        (b'{"inputs":[NaN]}', "invalid-json"),
        (b'{"instances": [], "instances": [{"age": 1}]}', "duplicate-key"),
        (b'{"instances": [{"age": 1, "age": 2}]}', "duplicate-key"),
    ],
)
def test_what_is_refused(document, code):
    assert code_of(document) == code


def test_an_index_is_as_long_as_the_rows():
    for index in ([7], ["first"], [None], None):
        assert decode({"dataframe_split": {**SPLIT, "index": index}}).rows == 1
    assert code_of({"input_data": {**SPLIT, "index": [0, 1]}}, form=SCORE) == "invalid-invocation"


@pytest.mark.parametrize("document", [5, {}, {"instances": [ROW], "inputs": [ROW]}, {"prompt": "hello"}])
def test_the_hint_names_every_key_of_the_contract(document):
    for form, azure in ((INVOCATIONS, False), (SCORE, True)):
        with pytest.raises(InvalidInput) as refusal:
            decode(document, form=form)
        assert all(key in refusal.value.hint for key in ("dataframe_split", "dataframe_records", "instances", "inputs"))
        assert ("input_data, data" in refusal.value.hint) == azure


def test_vertex_takes_instances_and_nothing_else():
    for document in ({}, [], {"inputs": [ROW]}, 5):
        assert code_of(document, form=VERTEX) == "invalid-instances"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (b"application/json; charset=latin-1", "unsupported-charset"),
        (b"text/csv; charset=utf-16", "unsupported-charset"),
        (b"application/json; format=pandas-split", "unsupported-content-type"),
        (b"application/x-www-form-urlencoded", "unsupported-content-type"),
        (b"", "unsupported-content-type"),
    ],
)
def test_other_content_types_are_415(kind, code):
    with pytest.raises(UnsupportedMedia) as refusal:
        decode({"instances": [ROW]}, headers={"content_type": kind})
    assert refusal.value.code == code
    status, headers, body = failure(refusal.value)
    assert status == 415
    assert headers.startswith(b"content-type: text/plain")
    assert b"accept: application/json, text/csv, application/jsonlines\r\n" in headers
    assert not body.startswith(b"{")


def test_content_types_that_say_what_is_so_anyway():
    for kind in (b"application/json", b"Application/JSON;charset=UTF-8", b'application/json; charset="utf-8"'):
        assert decode({"instances": [ROW]}, headers={"content_type": kind}).rows == 1


def test_predictions_are_a_list_or_records():
    assert answer({"instances": [ROW]}, LABELS)[0] == {"predictions": ["yes"]}
    outputs = {**LABELS, "scores": np.array([[0.25, np.nan]])}
    expected = [{"label": "yes", "scores": [0.25, None]}]
    assert answer({"instances": [[1, 2]]}, outputs, MATRIX)[0] == {"predictions": expected}
    assert answer({"instances": [[1, 2]]}, outputs, MATRIX, VERTEX)[0] == {"predictions": expected}
    # Azure ML's own keys get the list bare.
    assert answer({"input_data": [[1, 2]]}, outputs, MATRIX, SCORE)[0] == expected
    assert answer({"inputs": [[1, 2]]}, outputs, MATRIX, SCORE)[0] == {"predictions": expected}


def test_the_answer_is_in_the_form_that_accept_asks_for():
    document, outputs = {"instances": [[1, 2]]}, {**LABELS, "scores": np.array([[0.25, 1]])}
    assert answer(document, outputs, MATRIX, headers={"accept": b"text/csv"})[0] == "yes,0.25,1.0\n"
    lines, kind = answer(document, outputs, MATRIX, headers={"accept": b"application/jsonlines"})
    assert (json.loads(lines), kind) == (
        {"label": "yes", "scores": [0.25, 1.0]},
        b"content-type: application/jsonlines\r\n",
    )
    for accept in (b"image/png", b"*/*", b"text/csv;q=0, application/json", b"text/csv;q=x", b""):
        assert "predictions" in answer(document, outputs, MATRIX, headers={"accept": accept})[0]


def test_lines_of_json():
    kind = {"content_type": b"application/jsonlines"}
    assert decode(b'{"x":[1,2]}\n{"x":[3,4]}\n', MATRIX, headers=kind).inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert decode(b"[1,2]\r\n[3,4]", MATRIX, headers=kind).rows == 2
    assert code_of(b"[1,2]\n{", MATRIX, headers=kind) == "invalid-json"
    assert code_of(b"\xff", MATRIX, headers=kind) == "not-text"


def test_own_forms_answer_in_their_own_way():
    call = decode({"rows": [ROW]})
    call.id = "request-1"
    assert json.loads(codec(TABLE).encode(call, LABELS)[0])["id"] == "request-1"
    tensors = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    for given_id in ({}, {"id": "mine"}):
        call = decode({**tensors, **given_id}, MATRIX)
        call.id = call.id or "request-1"
        found = json.loads(codec(MATRIX).encode(call, {**LABELS, "scores": np.array([[1.0, 2.0]])})[0])
        assert found.get("id") == given_id.get("id")
        assert found["model_name"] == "churn"


def test_a_language_model_s_answer_is_not_wrapped():
    messages = [{"role": "user", "content": "hello"}]
    call = decode({"messages": messages, "temperature": 0.5}, CHAT)
    assert json.loads(call.inputs["messages"][0]) == messages
    assert call.parameters == {"temperature": 0.5}
    assert codec(CHAT).encode(call, LABELS)[0] == b'"yes"'
    assert answer({"prompt": "hello"}, LABELS, PROMPT)[0] == "yes"
    two = {"label": np.array(["a", "b"], object)}
    assert answer({"prompt": ["one", "two"]}, two, PROMPT)[0] == ["a", "b"]


def test_bytes_come_as_base64():
    document = {"instances": [{"image": {"b64": "/9j/"}}, {"image": {"b64": "aGk="}}]}
    for form in (VERTEX, INVOCATIONS):
        assert decode(document, BYTES, form, text_only=False).inputs["image"].tolist() == [b"\xff\xd8\xff", "hi"]
        assert code_of(document, BYTES, form) == "not-text"
        assert code_of({"instances": [{"image": {"b64": "*"}}]}, BYTES, form) == "invalid-rows"
        for value in (5, None, ["aGk="], {}, "ü"):
            assert code_of({"instances": [{"image": {"b64": value}}]}, BYTES, form) == "invalid-rows"
            assert code_of({"instances": [{"b64": value}]}, BYTES, form) in ("wrong-inputs", "invalid-rows")
    assert decode({"instances": [{"b64": "aGk="}]}, BYTES, VERTEX).inputs["image"].tolist() == ["hi"]


def test_a_model_without_rows_takes_its_inputs_whole():
    for document in ({"inputs": [[1, 2], [3, 4]]}, {"inputs": {"x": [[1, 2], [3, 4]]}}):
        assert decode(document, WHOLE).inputs["x"].tolist() == [[1, 2], [3, 4]]
        assert answer(document, {"y": np.array(2.5)}, WHOLE)[0] == {"predictions": 2.5}
    assert code_of({"instances": [[[1, 2], [3, 4]]]}, WHOLE) == "no-rows"
    assert code_of({"instances": [1]}, WHOLE, VERTEX) == "no-rows"


def test_predictions_are_never_fewer_than_instances():
    call = decode({"instances": [ROW, ROW]}, form=VERTEX)
    with pytest.raises(InvalidInput) as refusal:
        codec(TABLE, VERTEX).encode(call, {"total": np.array([1.0])})
    assert refusal.value.code == "no-rows"


def test_every_failure_has_mlflow_s_form():
    kinds = {cls.kind: cls for cls in PenstockError.__subclasses__()} | {"internal": PenstockError}
    assert kinds.keys() == STATUS.keys()
    for kind, cls in kinds.items():
        status, _, body = failure(cls("some-code", "what happened", hint="do this"))
        assert status == STATUS[kind]
        if status != 415:
            found = json.loads(body)
            assert found["message"] == "what happened; do this"
            assert found["code"] == "some-code"
            assert found["error_code"].isupper()


@pytest.mark.parametrize(
    ("form", "document", "kind"),
    [
        (INVOCATIONS, {"rows": [ROW]}, None),
        (INVOCATIONS, {"dataframe_records": [ROW]}, None),
        (INVOCATIONS, {"dataframe_split": SPLIT}, None),
        (INVOCATIONS, {"inputs": {"city": ["Oslo"]}}, None),
        (INVOCATIONS, {"inputs": [{"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Oslo"]}]}, None),
        (INVOCATIONS, b"age,city,income\n1,Oslo,2\n2,Bern,3\n", b"text/csv"),
        (INVOCATIONS, b'{"city": "Oslo"}\n{"city": "Bern"}\n', b"application/jsonlines"),
        (INVOCATIONS, b'age,city,income\n1,"Oslo",1.5\n2,"Bern\n', b"text/csv"),
        (INVOCATIONS, {"dataframe_split": {"data": [[1.5, 30, "Oslo"]]}}, None),
        (VERTEX, {"instances": [[1.5, 30, "Oslo"], None]}, None),
        (SCORE, {"input_data": SPLIT}, None),
        (VERTEX, {"instances": [ROW]}, None),
    ],
)
def test_the_first_value_of_an_input_is_found_before_anything_is_decoded(form, document, kind):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = form.first("city", TABLE)(body, {} if kind is None else {b"content-type": kind})
    assert found == "Oslo"


@pytest.mark.parametrize(
    ("signature", "document", "first"),
    [(PROMPT, {"prompt": "hello", "other": 1}, "hello"), (PROMPT, {"prompt": ["a", "b"]}, "a"),
     (CHAT, {"messages": [{"role": "user"}]}, '[{"role":"user"}]')],
)  # fmt: skip
def test_the_first_value_of_a_language_model_s_call(signature, document, first):
    name = signature.inputs[0].name
    assert INVOCATIONS.first(name, signature)(json.dumps(document).encode(), {}) == first


PIECES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["age", "city", "income", "x", "b64", "data", "columns"]), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["dataframe_split", "dataframe_records", "instances", "inputs", "params", "rows", "input_data", "data", "prompt"]
)


@given(st.dictionaries(KEYS, PIECES, max_size=2) | PIECES, st.sampled_from([TABLE, MATRIX, CHAT, WHOLE, BYTES]))
def test_no_document_fails_in_another_way(document, signature):
    for form in (INVOCATIONS, SCORE, VERTEX):
        with contextlib.suppress(InvalidInput), np.errstate(all="ignore"):
            call = decode(document, signature, form)
            assert call.rows > 0


@given(
    st.binary(max_size=60),
    st.sampled_from([b"application/json", b"text/csv", b"application/jsonlines", b"text/csv; header=present"]),
)
def test_no_bytes_fail_in_another_way(body, kind):
    for signature in (TABLE, MATRIX):
        with contextlib.suppress(InvalidInput), np.errstate(all="ignore"):
            decode(body, signature, headers={"content_type": kind})


@given(st.binary(max_size=60) | st.dictionaries(KEYS, PIECES, max_size=2).map(lambda d: json.dumps(d).encode()))
def test_looking_for_a_unit_raises_nothing(body):
    from penstock.core.routes import Unit
    from penstock.protocols.unit import unit_reader

    read = unit_reader(Unit(field="city"), [TABLE])
    for form in (INVOCATIONS, SCORE, VERTEX):
        for kind in (b"text/csv", b"application/json", b"application/jsonlines", b"x"):
            assert isinstance(read({b"content-type": kind}, body, form), str)
