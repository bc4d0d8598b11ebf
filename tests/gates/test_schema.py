"""What breaks callers, and what does not."""

import msgspec
import pytest

from penstock.core.signature import Field, Signature
from penstock.gates import schema
from penstock.gates.plan import SchemaSettings

AGE = Field(name="age", datatype="FP64", shape=(-1,), nullable=True)
CITY = Field(name="city", datatype="BYTES", shape=(-1,), categories=("Bern", "Oslo"), closed=True)
IMAGE = Field(name="image", datatype="FP32", shape=(-1, 3, -1))
LABEL = Field(name="predictions", datatype="INT64", shape=(-1,))
SCORES = Field(name="probabilities", datatype="FP64", shape=(-1, 2))
OLD = Signature(inputs=(AGE, CITY, IMAGE), outputs=(LABEL, SCORES), layout="tensors", classes=(0, 1))
change = msgspec.structs.replace


def with_input(field, old):
    return change(OLD, inputs=tuple(field if one is old else one for one in OLD.inputs))


def with_output(field, old):
    return change(OLD, outputs=tuple(field if one is old else one for one in OLD.outputs))


def places(new, old=OLD):
    return [one.where for one in schema.breaks(old, new)]


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        change(OLD, inputs=OLD.inputs[::-1]),
        change(OLD, outputs=(*OLD.outputs, Field(name="why", datatype="BYTES", shape=(-1,)))),
        with_input(change(CITY, categories=("Bern", "Oslo", "Rome")), CITY),
        with_input(change(CITY, closed=False), CITY),
        with_input(change(IMAGE, shape=(-1, -1, -1)), IMAGE),
        with_input(change(IMAGE, datatype="FP64"), IMAGE),
        with_input(change(AGE, datatype="FP32"), AGE),
        with_output(change(LABEL, datatype="INT32"), LABEL),
        with_output(change(SCORES, datatype="FP32"), SCORES),
    ],
)
def test_callers_go_on_when_more_is_taken_and_the_same_is_given(new):
    assert places(new) == []


@pytest.mark.parametrize(
    ("new", "where"),
    [
        (change(OLD, inputs=OLD.inputs[1:]), "input age"),
        (change(OLD, inputs=(*OLD.inputs, change(AGE, name="income"))), "input income"),
        (with_input(change(AGE, nullable=False), AGE), "input age"),
        (with_input(change(AGE, integers="INT64"), AGE), "input age"),
        (with_input(change(AGE, datatype="INT64"), AGE), "input age"),
        (with_input(change(CITY, categories=("Bern",)), CITY), "input city"),
        (with_input(change(IMAGE, shape=(-1, 3)), IMAGE), "input image"),
        (with_input(change(IMAGE, shape=(-1, 4, -1)), IMAGE), "input image"),
        (with_input(change(IMAGE, shape=(-1, 3, 7)), IMAGE), "input image"),
        (with_input(change(IMAGE, datatype="FP16"), IMAGE), "input image"),
        (with_input(change(IMAGE, datatype="BYTES"), IMAGE), "input image"),
        (change(OLD, outputs=(SCORES,)), "output predictions"),
        (with_output(change(LABEL, datatype="BYTES"), LABEL), "output predictions"),
        (with_output(change(SCORES, shape=(-1, 3)), SCORES), "output probabilities"),
        (with_output(change(SCORES, shape=(-1,)), SCORES), "output probabilities"),
        (change(OLD, classes=(1, 0)), "classes"),
        (change(OLD, classes=None), "classes"),
        (change(OLD, batched=False), "signature"),
    ],
)
def test_callers_break_when_less_is_taken_or_something_else_is_given(new, where):
    assert places(new) == [where]


def test_a_column_that_was_open_and_is_closed_breaks():
    old = with_input(change(CITY, closed=False), CITY)
    assert places(OLD, old) == ["input city"]


def test_whole_numbers_may_become_wider():
    narrow, wide = (with_input(change(AGE, integers=kind), AGE) for kind in ("INT32", "INT64"))
    assert places(wide, narrow) == []
    assert places(narrow, wide) == ["input age"]


def test_a_boolean_does_not_become_a_number():
    flag = Field(name="flag", datatype="BOOL", shape=(-1,))
    old = Signature(inputs=(flag,), outputs=(), layout="table")
    assert places(change(old, inputs=(change(flag, datatype="INT64"),)), old) == ["input flag"]


def test_values_of_a_sensitive_column_are_not_told():
    old = with_input(change(CITY, sensitive=True), CITY)
    (found,) = schema.breaks(old, with_input(change(CITY, sensitive=True, categories=("Oslo",)), CITY))
    assert "Bern" not in found.what


def test_real_bundles_with_another_column_fail_and_a_known_break_may_be_allowed(candidate, champion, pack, train):
    from tests.gates.conftest import model

    x = train.drop(columns="left").rename(columns={"income": "salary"})
    estimator = model().set_params(columntransformer__transformers=[("n", "passthrough", ["age", "salary"])])
    other = pack(estimator.fit(x[["age", "salary"]], train["left"]), x[["age", "salary"]], "salary")
    subject = candidate(other, champion=champion)
    found = schema.check(subject, SchemaSettings())
    assert found.verdict == "fail"
    broken = sorted(one["where"] for one in found.evidence["breaks"])
    assert broken == ["input city", "input income", "input salary"]
    allowed = schema.check(subject, SchemaSettings(allow=tuple(broken)))
    assert allowed.verdict == "pass"
    assert len(allowed.evidence["allowed"]) == 3


def test_without_a_champion_nobody_can_break(candidate, champion):
    assert schema.check(candidate(champion), SchemaSettings()).verdict == "pass"
