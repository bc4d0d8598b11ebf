"""Predict by rows and by columns: what is taken, what comes back, and what is refused."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.protocols.form import ModelView
from penstock.protocols.tfserving.predict import PREDICT, PredictCodec


def codec_of(*inputs, outputs=(), layout="tensors", **rules):
    """A codec of inputs `(name, datatype, shape)`."""
    fields = tuple(Field(name=name, datatype=datatype, shape=shape) for name, datatype, shape in inputs)
    return PredictCodec(ModelView("m", "1", Signature(inputs=fields, outputs=outputs, layout=layout, **rules)))


ONE = codec_of(("x", "FP32", (-1, 2)))
SCALARS = codec_of(("x", "FP64", (-1,)))
THREE = codec_of(("tag", "BYTES", (-1,)), ("signal", "INT64", (-1, 5)), ("sensor", "FP32", (-1, 2, 2)))
TEXT = codec_of(("x", "BYTES", (-1,)))
BINARY = PredictCodec(
    ModelView(
        "m",
        "1",
        Signature(inputs=(Field(name="x", datatype="BYTES", shape=(-1,)),), outputs=(), layout="tensors"),
        False,
    )
)
NULLABLE = PredictCodec(
    ModelView(
        "m", "1", Signature(inputs=(Field(name="x", datatype="FP64", shape=(-1,), nullable=True),), outputs=(),
                            layout="table"),
    )
)  # fmt: skip
ROWS = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]


def decoded(codec, document):
    return codec.decode(document if isinstance(document, bytes) else json.dumps(document).encode())


def code_of(codec, document):
    with pytest.raises(InvalidInput) as refusal, np.errstate(over="ignore"):
        decoded(codec, document)
    return refusal.value.code


def test_rows_of_one_input_are_bare_values():
    call = decoded(ONE, {"instances": [[1, 2], [3.5, 4]]})
    assert call.inputs["x"].tolist() == [[1.0, 2.0], [3.5, 4.0]]
    assert call.inputs["x"].dtype == np.float32
    assert call.rows == 2
    assert decoded(SCALARS, {"instances": [1.0, 2, 5.0]}).inputs["x"].tolist() == [1, 2, 5]
    assert decoded(TEXT, {"instances": ["foo", "bar"]}).inputs["x"].tolist() == ["foo", "bar"]


def test_rows_of_one_input_may_name_it():
    assert decoded(ONE, {"instances": [{"x": [1, 2]}]}).inputs["x"].tolist() == [[1.0, 2.0]]


def test_rows_and_columns_of_several_inputs_are_the_same_tensors():
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    by_rows, by_columns = decoded(THREE, {"instances": ROWS}), decoded(THREE, {"inputs": columns})
    assert by_rows.rows == by_columns.rows == 2
    for name in columns:
        assert by_rows.inputs[name].tolist() == by_columns.inputs[name].tolist() == columns[name]


def test_a_column_of_one_input_is_bare_or_named():
    assert decoded(ONE, {"inputs": [[1, 2]]}).inputs["x"].tolist() == [[1, 2]]
    assert decoded(ONE, {"inputs": {"x": [[1, 2]]}}).inputs["x"].tolist() == [[1, 2]]


def test_base64_is_the_bytes_it_stands_for():
    document = {"instances": [{"b64": "aW1hZ2UgYnl0ZXM="}, "text"]}
    assert decoded(TEXT, document).inputs["x"].tolist() == ["image bytes", "text"]
    assert decoded(BINARY, {"instances": [{"b64": "/w=="}]}).inputs["x"].tolist() == [b"\xff"]
    assert decoded(BINARY, {"instances": [{"x": {"b64": "/w=="}}]}).inputs["x"].tolist() == [b"\xff"]
    assert decoded(BINARY, {"inputs": {"x": [{"b64": "/w=="}]}}).inputs["x"].tolist() == [b"\xff"]
    scalar = codec_of(("x", "BYTES", ()), batched=False)
    assert decoded(scalar, {"inputs": {"b64": "YQ=="}}).inputs["x"].tolist() == "a"
    assert code_of(TEXT, {"instances": [{"b64": "/w=="}]}) == "not-text"


def test_bare_tokens_are_read():
    assert math.isnan(decoded(NULLABLE, b'{"instances": [1.0, NaN]}').inputs["x"][1])
    # Read, and refused as every contract refuses them.
    assert code_of(SCALARS, b'{"instances": [NaN]}') == "missing-value"
    assert code_of(SCALARS, b'{"instances": [1.0, -Infinity]}') == "invalid-value"
    assert code_of(SCALARS, b'{"instances": [Infinity]}') == "invalid-value"
    # A token inside a text is text.
    assert decoded(TEXT, b'{"x": NaN, "instances": ["NaN", "a \\" NaN"]}').inputs["x"].tolist() == ["NaN", 'a " NaN']


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [-NaN]}', b'{"instances": [nan]}', b'{"instances": [+Infinity]}', b'{"instances": [1NaN]}',
        b'{"instances": [NaN], "x": 1e400}', b'{"instances": [NaN], "x": "\\ud800"}', b'{NaN: 1}',
        b'{"instances": [NaN', b"NaN\xff", b'{"x": ' + b"[" * 500_000 + b"NaN", b"", b"[" * 500_000, b"null", b"[]",
        b'{"a": NaN, "x": "\xff"}', '{"instances": [NaN]}'.encode("utf-16"), b'{"x": "' + b"\\" * 500_001,
    ],
)  # fmt: skip
def test_everything_but_the_three_tokens_is_strict(body):
    assert code_of(SCALARS, body) == "invalid-json"


def test_an_unknown_key_is_ignored_and_a_repeated_one_refused():
    assert decoded(SCALARS, {"instances": [1], "more": {"a": [{"b": 1}]}}).rows == 1
    assert code_of(SCALARS, b'{"instances": [1], "instances": [2]}') == "duplicate-key"
    assert code_of(ONE, b'{"instances": [[1, 2]], "instances": [[3, 4]]}') == "duplicate-key"
    assert code_of(SCALARS, b'{"instances": [NaN], "instances": [2]}') == "duplicate-key"
    assert code_of(SCALARS, b'{"instances": [{"x": 1, "x": 2}]}') == "duplicate-key"


def test_there_is_one_signature():
    assert decoded(SCALARS, {"instances": [1], "signature_name": "serving_default"}).rows == 1
    assert decoded(SCALARS, {"instances": [1], "signature_name": ""}).rows == 1
    assert code_of(SCALARS, {"instances": [1], "signature_name": "other"}) == "unknown-signature"
    assert code_of(SCALARS, {"instances": [1], "signature_name": ["serving_default"]}) == "unknown-signature"


@pytest.mark.parametrize(
    ("codec", "document", "code"),
    [
        (ONE, {"instances": [[1, 2]], "inputs": [[1, 2]]}, "instances-or-inputs"),
        (ONE, {}, "instances-or-inputs"),
        (ONE, {"instances": []}, "empty-batch"),
        (ONE, {"instances": [[]]}, "wrong-shape"),
        (ONE, {"instances": 1}, "invalid-rows"),
        (ONE, {"instances": {"x": 1}}, "invalid-rows"),
        (ONE, {"instances": [[1, 2], [1]]}, "wrong-shape"),
        (ONE, {"instances": [[1, 2], 1]}, "invalid-rows"),
        (ONE, {"instances": [[1, [2]], [1, 2]]}, "invalid-rows"),
        (ONE, {"instances": [[[1], [2]]]}, "invalid-rows"),
        (ONE, {"instances": [[[[1]], [[2]]]]}, "invalid-rows"),
        (ONE, {"instances": [[1, 2, 3]]}, "wrong-shape"),
        (ONE, {"instances": [[1, "2"]]}, "invalid-rows"),
        (ONE, {"instances": [[1, True]]}, "invalid-rows"),
        (ONE, {"instances": [[1, None]]}, "missing-value"),
        (ONE, {"instances": [[1, 1e39]]}, "invalid-value"),
        (ONE, {"instances": [[1, 10**400]]}, "invalid-rows"),
        (ONE, {"instances": [[1, {"b64": "YQ=="}]]}, "invalid-rows"),
        (ONE, {"instances": [{"x": [1, 2]}, [1, 2]]}, "invalid-rows"),
        (ONE, {"instances": [{"y": [1, 2]}]}, "wrong-inputs"),
        (ONE, {"instances": [{"x": [1, 2], "y": 1}]}, "wrong-inputs"),
        (ONE, {"inputs": {"y": [[1, 2]]}}, "wrong-inputs"),
        (ONE, {"inputs": {}}, "wrong-inputs"),
        (ONE, {"inputs": 3}, "invalid-rows"),
        (ONE, {"inputs": None}, "invalid-rows"),
        (ONE, {"inputs": []}, "wrong-shape"),
        (SCALARS, {"inputs": []}, "empty-batch"),
        (THREE, {"instances": [1, 2]}, "wrong-inputs"),
        (THREE, {"instances": [ROWS[0], {"tag": "bar"}]}, "wrong-inputs"),
        (THREE, {"instances": [ROWS[0], {**ROWS[1], "more": 1}]}, "wrong-inputs"),
        (THREE, {"instances": [ROWS[0], {**ROWS[1], "signal": [1]}]}, "wrong-shape"),
        (THREE, {"inputs": [1]}, "wrong-inputs"),
        (THREE, {"inputs": {"tag": ["a"], "signal": [[1, 2, 3, 4, 5]] * 2, "sensor": [[[1, 2], [3, 4]]]}},
         "unequal-rows"),
        (THREE, {"instances": [{**ROWS[0], "signal": [1, 2, 3, 4, 5.0]}]}, "invalid-rows"),
        (THREE, {"instances": [{**ROWS[0], "signal": [1, 2, 3, 4, 2**63]}]}, "invalid-value"),
        (TEXT, {"instances": [1]}, "invalid-rows"),
        (TEXT, {"instances": [{"b64": "*"}]}, "invalid-rows"),
        (TEXT, {"instances": [{"b64": 1}]}, "wrong-inputs"),
        (TEXT, {"instances": [None]}, "missing-value"),
    ],
)  # fmt: skip
def test_what_is_refused(codec, document, code):
    assert code_of(codec, document) == code


@pytest.mark.parametrize("datatype", [name for name in DTYPES if "INT" in name])
def test_integers_keep_every_bit_and_their_range(datatype):
    codec, limits = codec_of(("x", datatype, (-1,))), np.iinfo(DTYPES[datatype])
    ends = [int(limits.min), int(limits.max)]
    assert decoded(codec, {"instances": ends}).inputs["x"].tolist() == ends
    # What the type itself has no room for, or the array.
    code = "invalid-value" if "64" in datatype else "invalid-rows"
    assert code_of(codec, {"instances": [ends[0] - 1]}) == code_of(codec, {"instances": [ends[1] + 1]}) == code


def test_truths_are_true_or_false_or_1_or_0():
    codec = codec_of(("x", "BOOL", (-1,)))
    for values in ([True, False], [1, 0], [1, False]):
        assert decoded(codec, {"instances": values}).inputs["x"].tolist() == [True, False]
        assert decoded(codec, {"inputs": values}).inputs["x"].tolist() == [True, False]
    for value in (2, -1, 1.5, 1.0, "1", None):
        assert code_of(codec, {"instances": [value]}) == "invalid-rows"


def answers(outputs):
    """The answer by rows and by columns."""
    texts = [
        ONE.encode(decoded(ONE, document), outputs)[0] for document in ({"instances": [[1, 2]]}, {"inputs": [[1, 2]]})
    ]
    return [json.loads(text) for text in texts]


def test_the_only_output_drops_its_name():
    rows, columns = answers({"y": np.array([[1.5, 2.0], [3.0, 4.0]])})
    assert rows == {"predictions": [[1.5, 2.0], [3.0, 4.0]]}
    assert columns == {"outputs": [[1.5, 2.0], [3.0, 4.0]]}


def test_several_outputs_have_their_names():
    rows, columns = answers({"a": np.array([1, 2]), "b": np.array([[1.5], [2.5]])})
    assert rows == {"predictions": [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2.5]}]}
    assert columns == {"outputs": {"a": [1, 2], "b": [[1.5], [2.5]]}}


def test_bytes_are_base64_where_the_name_says_so_or_no_text_is_possible():
    outputs = {"image_bytes": np.array(["text", b"\xff"], object), "label": np.array(["a", b"\xfe"], object)}
    rows, columns = answers(outputs)
    assert rows["predictions"] == [
        {"image_bytes": {"b64": "dGV4dA=="}, "label": "a"}, {"image_bytes": {"b64": "/w=="}, "label": {"b64": "/g=="}}
    ]  # fmt: skip
    assert columns["outputs"]["image_bytes"] == [{"b64": "dGV4dA=="}, {"b64": "/w=="}]
    assert answers({"y_bytes": np.array([1.0])})[0] == {"predictions": [1.0]}


def test_what_is_not_finite_leaves_as_its_token():
    call = decoded(SCALARS, {"instances": [1]})
    body, kind = SCALARS.encode(call, {"y": np.array([np.nan, np.inf, -np.inf, 1.5, 2.0]), "ä": np.arange(5)})
    assert kind == b"content-type: application/json\r\n"
    assert body.startswith('{"predictions":[{"y":NaN,"ä":0},{"y":Infinity,"ä":1},{"y":-Infinity,"ä":2}'.encode())
    assert body.endswith('{"y":1.5,"ä":3},{"y":2.0,"ä":4}]}'.encode())


def test_rows_are_refused_where_the_outputs_have_none():
    call = decoded(ONE, {"instances": [[1, 2]]})
    for outputs in ({"a": np.arange(2), "b": np.arange(3)}, {"a": np.array(1.0)}):
        with pytest.raises(InvalidInput) as refusal:
            ONE.encode(call, outputs)
        assert refusal.value.code == "no-rows"


USER = Signature(inputs=(Field(name="user", datatype="BYTES", shape=(-1,)),), outputs=(), layout="tensors")


@pytest.mark.parametrize(
    ("document", "first"),
    [
        ({"instances": [{"user": 17, "x": 1}, {"user": 18, "x": 1}]}, 17),
        ({"instances": [[[17.5, 2]], [[3, 4]]]}, 17.5),
        ({"instances": ["ann", "bob"]}, "ann"),
        ({"instances": [{"b64": "YW5u"}]}, b"ann"),
        ({"instances": [{"user": {"b64": "YW5u"}}]}, b"ann"),
        ({"inputs": {"user": [["ann"]], "x": [1]}}, "ann"),
        ({"inputs": {"user": [{"b64": "YW5u"}, "b"]}}, b"ann"),
        ({"inputs": [3]}, 3),
        ({"context": {"user": "ann"}, "examples": [{"x": 1}]}, "ann"),
        ({"examples": [{"user": ["ann"]}]}, "ann"),
    ],
)
def test_the_first_value_of_an_input(document, first):
    assert PREDICT.first("user", USER)(json.dumps(document).encode(), {}) == first


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({"b64": "YQ=="}),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "tag", "b64"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from([ONE, SCALARS, THREE, TEXT, NULLABLE]), st.sampled_from(["instances", "inputs"]), JSON)
def test_no_document_makes_decoding_fail_in_another_way(codec, key, value):
    with contextlib.suppress(InvalidInput), np.errstate(over="ignore"):
        decoded(codec, {key: value})


@given(st.binary(max_size=100))
def test_no_bytes_make_decoding_fail_in_another_way(body):
    with contextlib.suppress(InvalidInput):
        ONE.decode(body)


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_floats_come_back_as_they_were_sent(values):
    body, _ = SCALARS.encode(decoded(SCALARS, {"instances": [1]}), {"y": np.array(values)})
    assert np.array_equal(json.loads(body)["predictions"], values, equal_nan=True)


@given(
    st.lists(st.lists(st.floats(width=32) | st.integers(-9, 9) | st.none(), min_size=1, max_size=3), max_size=4),
    st.sampled_from(["FP32", "FP64", "INT64", "UINT8"]),
)
def test_the_usual_way_and_the_general_one_agree(rows, datatype):
    codec = codec_of(("x", datatype, (-1, 2)))

    def outcome(document):
        try:
            with np.errstate(over="ignore"):
                return decoded(codec, document).inputs["x"].tolist()
        except InvalidInput as error:
            return error.code

    # A key that nobody knows makes it look closer.
    assert outcome({"instances": rows}) == outcome({"instances": rows, "more": 1})
