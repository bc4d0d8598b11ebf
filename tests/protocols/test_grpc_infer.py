"""Messages to calls: whatever the bytes, a call or a refusal that says what is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from penstock.core.errors import PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, to_bytes
from penstock.protocols.form import ModelView
from penstock.protocols.grpc_status import CODES, grpc_reply_of
from penstock.protocols.oip.form import INFER
from penstock.protocols.oip.grpc_form import GRPC_INFER
from penstock.protocols.oip.grpc_infer import CONTENTS, head_of, message, streamed, streamed_failure
from penstock.protocols.problems import STATUS
from penstock.protocols.tfserving.grpc_form import GRPC_PREDICT
from penstock.protocols.tfserving.grpc_predict import address_of
from penstock.protocols.tfserving.grpc_predict import message as tf_message

NUMBERS = Field(name="n", datatype="FP32", shape=(-1, 2))
TEXT = Field(name="t", datatype="BYTES", shape=(-1,))
SIGNATURE = Signature(inputs=(NUMBERS, TEXT), outputs=(NUMBERS, TEXT), layout="tensors")
VIEW = ModelView("model", "7", SIGNATURE)
OUTPUTS = {"n": np.ones((1, 2), np.float32), "t": np.array(["ü"], object)}
BYTES = strategies.binary(max_size=60)
WORDS = strategies.sampled_from(["n", "t", "x", "FP32", "BYTES", "INT8", "BOOL", "FP16", ""])
SIZES = strategies.lists(strategies.sampled_from([0, 1, 2, 3, -1, 2**31, 2**62]), max_size=3)
CONTENT = strategies.fixed_dictionaries(
    {},
    optional={
        "fp32_contents": strategies.lists(strategies.floats(width=32), max_size=4),
        "int_contents": strategies.lists(strategies.integers(-(2**31), 2**31 - 1), max_size=4),
        "bool_contents": strategies.lists(strategies.booleans(), max_size=4),
        "bytes_contents": strategies.lists(BYTES, max_size=4),
    },
)
INPUT = strategies.fixed_dictionaries(
    {"name": WORDS, "datatype": WORDS, "shape": SIZES}, optional={"contents": CONTENT}
)
REQUEST = strategies.fixed_dictionaries(
    {"inputs": strategies.lists(INPUT, max_size=3), "outputs": strategies.lists(WORDS, max_size=2)},
    optional={"raw_input_contents": strategies.lists(BYTES, max_size=3)},
)
TENSOR = strategies.fixed_dictionaries(
    {"dtype": strategies.integers(0, 24)},
    optional={
        "tensor_shape": SIZES.map(lambda sizes: {"dim": [{"size": size} for size in sizes]}),
        "tensor_content": BYTES,
        "float_val": strategies.lists(strategies.floats(width=32), max_size=4),
        "int_val": strategies.lists(strategies.integers(-(2**31), 2**31 - 1), max_size=4),
        "half_val": strategies.lists(strategies.integers(-1, 2**17), max_size=4),
        "string_val": strategies.lists(BYTES, max_size=4),
    },
)


def answered(form, body):
    """Decode, and encode some outputs where it was a call; every failure is one of ours and no 5xx."""
    codec = form.codec(VIEW)
    try:
        call = codec.decode(body)
    except PenstockError as error:
        assert form.failure(error)[0] < 500
        return None
    codec.encode(call, OUTPUTS)
    return call


@settings(deadline=None)
@given(BYTES)
def test_no_bytes_fail_in_another_way(body):
    for form in (GRPC_INFER, GRPC_PREDICT):
        answered(form, body)
    for head in (head_of, address_of):
        try:
            head(body)
        except PenstockError as error:
            assert error.code == "invalid-message"


@settings(deadline=None, max_examples=300)
@given(REQUEST)
def test_no_request_fails_in_another_way(fields):
    fields["outputs"] = [{"name": name} for name in fields["outputs"]]
    body = message("ModelInferRequest")(**fields).SerializeToString()
    answered(GRPC_INFER, body)


@settings(deadline=None, max_examples=300)
@given(strategies.dictionaries(strategies.sampled_from(["n", "t", "x"]), TENSOR, max_size=3))
def test_no_predict_request_fails_in_another_way(inputs):
    body = tf_message("PredictRequest")(inputs=inputs).SerializeToString()
    answered(GRPC_PREDICT, body)


def request(rows, *, raw):
    numbers = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) / 10
    text = np.array([f"ü{row}" for row in range(rows)], object)
    made = message("ModelInferRequest")(model_name="model", model_version="7", id="mine")
    for name, datatype, array in (("n", "FP32", numbers), ("t", "BYTES", text)):
        tensor = made.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            made.raw_input_contents.append(to_bytes(array))
        elif name == "n":
            tensor.contents.fp32_contents.extend(numbers.ravel().tolist())
        else:
            tensor.contents.bytes_contents.extend(value.encode() for value in text)
    return made, numbers, text


@pytest.mark.parametrize("raw", [True, False])
def test_a_request_there_and_back(raw):
    made, numbers, text = request(3, raw=raw)
    body = made.SerializeToString()
    assert head_of(body) == ("model", "7", "mine")
    call = answered(GRPC_INFER, body)
    assert (call.rows, call.id, call.binary) == (3, "mine", raw)
    assert np.array_equal(call.inputs["n"], numbers)
    assert call.inputs["t"].tolist() == text.tolist()
    encoded, lines = GRPC_INFER.codec(VIEW).encode(call, OUTPUTS)
    answer = message("ModelInferResponse").FromString(encoded)
    assert lines == b""
    assert (answer.model_name, answer.model_version, answer.id) == ("model", "7", "mine")
    assert bool(answer.raw_output_contents) is raw
    wrapped = message("ModelStreamInferResponse").FromString(streamed(encoded))
    assert wrapped.infer_response == answer
    assert not wrapped.error_message


@pytest.mark.parametrize("raw", [True, False])
def test_an_input_that_is_given_twice_is_refused(raw):
    made = request(1, raw=raw)[0]
    made.inputs.add().CopyFrom(made.inputs[0])
    if raw:
        made.raw_input_contents.append(made.raw_input_contents[0])
    with pytest.raises(PenstockError) as refusal:
        GRPC_INFER.codec(VIEW).decode(made.SerializeToString(), {})
    assert refusal.value.code == "duplicate-input"


@pytest.mark.parametrize("raw", [True, False])
def test_units_are_the_same_as_in_json(raw):
    body = request(1, raw=raw)[0].SerializeToString()
    json = (
        b'{"inputs":[{"name":"n","shape":[1,2],"datatype":"FP32","data":[0.0,0.1]},{"name":"t","data":["\xc3\xbc0"]}]}'
    )
    for name in ("n", "t"):
        mine, theirs = (form.first(name, SIGNATURE)(sent, {}) for form, sent in ((GRPC_INFER, body), (INFER, json)))
        assert mine == (theirs.encode() if isinstance(theirs, str) else theirs)
    assert GRPC_INFER.first("none", SIGNATURE)(body, {}) is None


def test_a_half_precision_output_makes_the_answer_raw():
    half = Field(name="h", datatype="FP16", shape=(-1,))
    codec = GRPC_INFER.codec(ModelView("m", "1", Signature(inputs=(NUMBERS,), outputs=(half, TEXT), layout="matrix")))
    made = message("ModelInferRequest")()
    made.inputs.add(name="n", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    outputs = {"h": np.array([1.5], np.float16), "t": np.array(["a"], object)}
    answer = message("ModelInferResponse").FromString(codec.encode(codec.decode(made.SerializeToString()), outputs)[0])
    assert list(answer.raw_output_contents) == [to_bytes(array) for array in outputs.values()]


def test_a_failure_in_a_stream_has_the_id():
    found = message("ModelStreamInferResponse").FromString(streamed_failure("wrong", "7"))
    assert (found.error_message, found.infer_response.id) == ("wrong", "7")


def test_every_kind_of_failure_has_a_status():
    assert set(CODES) == set(STATUS)
    kinds = {cls.kind: cls for cls in PenstockError.__subclasses__()}
    for kind, cls in kinds.items():
        status, lines, text = grpc_reply_of(cls("some-code", "what", hint="do this"))
        assert b"grpc-status: %d\r\n" % CODES[kind] in lines
        assert (status, text) == (STATUS[kind], b"what; do this")


def test_every_datatype_but_one_has_a_field():
    assert set(DTYPES) - set(CONTENTS) == {"FP16"}
