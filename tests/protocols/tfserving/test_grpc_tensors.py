"""How far one TensorProto, and all of a message together, may be filled up from a few bytes."""

import numpy as np
import pytest

from penstock.core.errors import InvalidInput, TooLarge
from penstock.core.signature import Field, Signature
from penstock.protocols.form import ModelView
from penstock.protocols.tfserving.grpc_form import GRPC_PREDICT
from penstock.protocols.tfserving.grpc_predict import message
from penstock.protocols.tfserving.grpc_tensors import MOST_REPEATED_BYTES, NUMBERS, Budget, first_value, put, tensor_of

MOST = MOST_REPEATED_BYTES // 8


def request(**sizes):
    """A request whose inputs say one FP64 value each, and ask for so many."""
    made = message("PredictRequest")()
    for name, size in sizes.items():
        proto = made.inputs[name]
        proto.dtype = NUMBERS["FP64"]
        proto.double_val.append(1.5)
        proto.tensor_shape.dim.add(size=size)
    return made


def test_one_tensor_may_be_filled_up_to_the_budget():
    budget = Budget()
    assert tensor_of("a", request(a=MOST).inputs["a"], budget)[[0, -1]].tolist() == [1.5, 1.5]
    assert budget.left == 0
    with pytest.raises(TooLarge) as refusal:
        tensor_of("a", request(a=2).inputs["a"], budget)
    assert refusal.value.code == "repeated-too-large"
    with pytest.raises(TooLarge):
        tensor_of("a", request(a=MOST + 1).inputs["a"], Budget())


def test_what_is_given_whole_costs_nothing():
    budget, whole = Budget(), message("PredictRequest")()
    put(whole.inputs["a"], np.ones(1000))
    budget.left = 0
    assert tensor_of("a", whole.inputs["a"], budget).sum() == 1000


def codec(*names):
    fields = tuple(Field(name=name, datatype="FP64", shape=(-1,)) for name in names)
    return GRPC_PREDICT.codec(ModelView("m", "1", Signature(inputs=fields, outputs=(), layout="tensors")))


def test_all_tensors_of_a_message_share_one_budget():
    half = MOST // 2 + 1
    assert codec("a").decode(request(a=half).SerializeToString(), {}).rows == half
    with pytest.raises(TooLarge) as refusal:
        codec("a", "b").decode(request(a=half, b=half).SerializeToString(), {})
    assert refusal.value.code == "repeated-too-large"
    # The next message has one of its own.
    assert codec("a").decode(request(a=half).SerializeToString(), {}).rows == half


def test_an_input_that_the_model_does_not_take_is_not_even_filled():
    with pytest.raises(InvalidInput) as refusal:
        codec("a").decode(request(a=1, other=2**62).SerializeToString(), {})
    assert refusal.value.code == "wrong-inputs"


def test_the_first_of_no_values_is_the_zero_that_they_are_filled_with():
    empty = message("PredictRequest")().inputs["a"]
    empty.dtype = NUMBERS["INT64"]
    empty.tensor_shape.dim.add(size=2)
    assert first_value(empty) == tensor_of("a", empty, Budget())[0] == 0
    empty.dtype = NUMBERS["BYTES"]
    assert first_value(empty).decode() == tensor_of("a", empty, Budget())[0] == ""
