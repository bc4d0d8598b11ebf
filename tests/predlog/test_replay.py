"""Recorded calls answered again, and what is told of the differences."""

import math

import numpy as np
import pytest
from tests.predlog.logged import BEGIN_S, block, failed, places_in, write_segment

from penstock.core.errors import ModelFailed, NotFound
from penstock.core.signature import Field, Signature
from penstock.predlog.replay import replay
from penstock.predlog.table_views import Selection

AGE = Field(name="age", datatype="FP64", shape=(-1,))
CITY = Field(name="city", datatype="BYTES", shape=(-1,))
LABEL = Field(name="predictions", datatype="INT64", shape=(-1,))
SCORES = Field(name="probabilities", datatype="FP32", shape=(-1, 2))
SIGNATURE = Signature(inputs=(AGE, CITY), outputs=(LABEL, SCORES), layout="table")


def answers(inputs, moved=0.0, turned=()):
    """What `logged.block` records; scores moved by so much, and the labels of these ages turned."""
    numbers = inputs["age"]
    turn = np.isin(numbers, turned)
    return {
        "predictions": np.where(turn, 7, numbers % 2).astype(np.int64),
        "probabilities": (np.stack([numbers / 100, 1 - numbers / 100], axis=1) + moved * turn[:, None]).astype(
            np.float32
        ),
    }


@pytest.fixture
def places(tmp_path):
    """Twenty answered rows and one refused call."""
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(10, rows=[2] * 10), failed()])
    return places


def test_the_same_version_answers_the_same(places):
    found = replay(places, "churn", SIGNATURE, answers)
    assert (found.rows, found.changed, found.largest_shift, found.skipped, found.flips) == (20, 0, 0.0, {}, ())


def test_what_a_shadow_answered_is_not_replayed(places):
    write_segment(places.segments[0], [block(3, prefix="s", reasons=["shadow"] * 3)], sequence=1)
    assert replay(places, "churn", SIGNATURE, answers).rows == 20


@pytest.mark.parametrize("batch_rows", [1, 7, 64])
def test_changed_labels_and_moved_scores_are_told_row_by_row(places, batch_rows):
    found = replay(places, "churn", SIGNATURE, lambda inputs: answers(inputs, 0.25, (3, 4)), batch_rows=batch_rows)
    assert (found.rows, found.changed) == (20, 2)
    assert found.largest_shift == pytest.approx(0.25)
    assert found.mean_shift == pytest.approx(0.025)
    assert {(flip.request_id, flip.row, flip.output, flip.recorded, flip.got) for flip in found.flips} == {
        ("r1", 1, "predictions", 1, 7), ("r2", 0, "predictions", 0, 7),
    }  # fmt: skip


def test_which_rows_are_taken_follows_from_their_ids(places):
    def rows(sample):
        seen = []
        replay(places, "churn", SIGNATURE, lambda inputs: seen.extend(inputs["age"]) or answers(inputs), sample=sample)
        return seen

    assert len(rows(5)) == 5
    assert rows(5) == rows(5) == rows(20)[:5]
    assert rows(20) != sorted(rows(20))


def test_only_the_asked_time_is_replayed(places):
    assert replay(places, "churn", SIGNATURE, answers, Selection(since=BEGIN_S + 8)).rows == 4


def test_withheld_inputs_are_skipped_and_counted(places):
    hashed = np.array(["9f86d081"] * 3, object)
    inputs = {"age": np.ones(3), "city": hashed}
    write_segment(places.segments[0], [block(3, inputs=inputs, policy={"inputs/city": "hash"})], sequence=1)
    dropped = block(2, inputs={"age": np.ones(2)}, policy={"inputs/city": "drop"})
    write_segment(places.segments[0], [dropped], sequence=2)
    found = replay(places, "churn", SIGNATURE, answers)
    assert (found.rows, found.skipped) == (20, {"withheld": 5})


def test_withheld_outputs_are_not_compared(places):
    outputs = {"predictions": np.array(["aa", "bb"], object)}
    policy = {"outputs/predictions": "hash", "outputs/probabilities": "drop"}
    write_segment(places.segments[0], [block(2, prefix="q", outputs=outputs, policy=policy)], sequence=1)
    found = replay(places, "churn", SIGNATURE, answers)
    assert (found.rows, found.changed, found.skipped) == (20, 0, {"no-output": 2})


@pytest.mark.parametrize(
    "field",
    [
        Field(name="income", datatype="FP64", shape=(-1,)),
        Field(name="age", datatype="FP64", shape=(-1, 3)),
        Field(name="city", datatype="FP64", shape=(-1,)),
        Field(name="age", datatype="BYTES", shape=(-1,)),
    ],
)
def test_a_version_that_takes_other_inputs_is_told_from_one_that_answers_otherwise(places, field):
    found = replay(places, "churn", Signature(inputs=(field,), outputs=(LABEL,), layout="table"), answers)
    assert (found.rows, found.skipped) == (0, {"unfit": 20})


def test_one_bad_row_costs_only_itself(places):
    def run(inputs):
        if 5 in inputs["age"]:
            raise ModelFailed("model-failed", "five")
        return answers(inputs)

    found = replay(places, "churn", SIGNATURE, run)
    assert (found.rows, found.changed, found.skipped) == (19, 0, {"refused": 1})


def test_whole_numbers_that_do_not_fit_are_not_bent(places):
    write_segment(places.segments[0], [block(2, prefix="f", inputs={"age": np.array([1.5, 300.0]), "city": ["a", "b"]} |
                                                   {"city": np.array(["a", "b"], object)})], sequence=1)  # fmt: skip
    small = Field(name="age", datatype="INT8", shape=(-1,))
    found = replay(places, "churn", Signature(inputs=(small,), outputs=(LABEL,), layout="table"), answers)
    assert (found.rows, found.skipped) == (20, {"unfit": 2})


def test_missing_numbers_reach_the_model_as_such_and_compare_as_equal(places):
    missing = block(
        2, prefix="m", inputs={"age": np.array([np.nan, 1.0]), "city": np.array(["a", None], object)},
        outputs={"probabilities": np.array([[np.nan, 1], [np.nan, 1]], np.float32)},
    )  # fmt: skip
    places = places_in(places.cache.parent / "other")
    write_segment(places.segments[0], [missing])
    seen = {}

    def run(inputs):
        seen.update({"age": inputs["age"].tolist(), "city": inputs["city"].tolist()})
        return {"probabilities": np.array([[np.nan, 1], [0.5, 1]], np.float32)}

    found = replay(places, "churn", SIGNATURE, run)
    assert sum(map(math.isnan, seen["age"])) == 1
    assert None in seen["city"]
    assert (found.rows, found.changed, found.largest_shift) == (2, 1, 0.0)


def test_a_matrix_and_a_model_without_rows_get_their_shapes_back(places):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for number, (batched, shape) in enumerate([(True, (-1, 3, 4)), (False, (3, -1))]):
        field = Field(name="x", datatype="FP32", shape=shape)
        total = Field(name="total", datatype="FP32", shape=(-1,) if batched else ())
        signature = Signature(inputs=(field,), outputs=(total,), layout="tensors", batched=batched)
        outputs = {"total": x.sum(axis=(1, 2))}
        other = places_in(places.cache.parent / str(number))
        write_segment(other.segments[0], [block(2, inputs={"x": x}, outputs=outputs)])
        axes = (1, 2) if batched else (0, 1)
        found = replay(other, "churn", signature, lambda inputs, axes=axes: {"total": inputs["x"].sum(axis=axes)})
        assert (found.rows, found.changed, found.largest_shift, found.skipped) == (2, 0, 0.0, {})


def test_nothing_recorded_is_said(places):
    with pytest.raises(NotFound) as caught:
        replay(places, "spam", SIGNATURE, answers)
    assert caught.value.code == "no-records"
