"""A converted form is served only where it is proven equal, and the manifest says why where it is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from penstock.core.errors import ModelFailed
from penstock.core.signature import Field, Signature
from penstock.pack.choices import make_choices
from penstock.pack.equivalence import ATOL, RTOL, compare_answers, prove_batching
from penstock.pack.estimator import EstimatorOriginal
from penstock.pack.optimise import optimise
from penstock.pack.perturb import perturbed
from penstock.pack.question import ask_estimator
from penstock.pack.sample import read_sample

RNG = np.random.default_rng(11)
X = RNG.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


class Converted(EstimatorOriginal):
    """An original whose conversion gives another estimator's graph, and which may be as fast as it likes."""

    def __init__(self, estimator, converts_to, seconds=None):
        super().__init__(estimator)
        self._other = EstimatorOriginal(converts_to)
        self._fixed = seconds

    def bind(self, signature, options):
        super().bind(signature, options)
        self._other.bind(signature, options)

    def convert(self):
        return self._other.convert()

    def seconds(self, inputs):
        return self._fixed or super().seconds(inputs)


def _served(original, sample, tmp_path):
    question = ask_estimator(original, sample, make_choices("m", {}))
    served = optimise(original, original.store(tmp_path), question, tmp_path)
    served.close()
    return served


def test_an_equal_form_is_served_with_its_evidence(tmp_path):
    model = LogisticRegression().fit(X, Y)
    served = _served(Converted(model, model), X, tmp_path)
    assert served.artifact.runtime == "onnx"
    evidence = served.evidence
    assert evidence.converted
    assert evidence.labels_equal
    assert evidence.rows_compared == 200
    assert evidence.perturbed_rows >= 300
    assert evidence.largest_difference <= ATOL
    assert served.original.options["derive_predictions"] is True
    assert [timing.rows for timing in served.timings] == [1, 64]


def _shaken(scale):
    model = LogisticRegression().fit(X, Y)
    model.coef_ = model.coef_ * (1 + scale)
    return model


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (LogisticRegression().fit(X, 1 - Y), "labels differ"),
        (_shaken(0.01), "scores differ"),
    ],
    ids=["opposite", "one per cent"],
)
def test_a_form_that_differs_is_not_served(other, said, tmp_path):
    served = _served(Converted(LogisticRegression().fit(X, Y), other), X, tmp_path)
    assert served.artifact.runtime == "sklearn"
    assert not served.evidence.converted
    assert said in served.evidence.reason
    assert not (tmp_path / "served" / "model.onnx").exists()


def test_a_form_that_differs_only_beside_the_sample_is_found_out(tmp_path):
    tree = DecisionTreeClassifier(max_depth=1).fit(X, Y)
    moved = DecisionTreeClassifier(max_depth=1).fit(X, Y)
    low, high = np.sort(X[:, 0])[[np.searchsorted(np.sort(X[:, 0]), 0) - 1, np.searchsorted(np.sort(X[:, 0]), 0)]]
    # Both split every row of the sample alike; between two neighbours of the sample they do not.
    moved.tree_.threshold[0] = low + (high - low) * 0.02
    assert np.array_equal(tree.predict(X), moved.predict(X))
    served = _served(Converted(tree, moved), X, tmp_path)
    assert not served.evidence.converted
    assert "labels differ" in served.evidence.reason


def test_a_form_that_answers_what_the_original_refuses_is_not_served(tmp_path):
    codes = (np.arange(200) % 3).astype(float)[:, None]
    strict = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(codes, Y)
    open_ = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(codes, Y)
    served = _served(Converted(strict, open_), codes, tmp_path)
    assert not served.evidence.converted
    assert "refuses" in served.evidence.reason


def test_a_slower_form_is_not_served_however_equal(tmp_path):
    model = LinearRegression().fit(X, X[:, 0])
    served = _served(Converted(model, model, seconds=1e-9), X, tmp_path)
    assert not served.evidence.converted
    assert "slower" in served.evidence.reason


SIGNATURE = Signature(
    inputs=(),
    outputs=(
        Field(name="predictions", datatype="INT64", shape=(-1,)),
        Field(name="probabilities", datatype="FP64", shape=(-1, 2)),
    ),
    layout="matrix",
    classes=(0, 1),
)


def _answers(labels, scores):
    return {"predictions": np.array(labels), "probabilities": np.array(scores, float)}


def test_a_label_at_a_tie_is_counted_and_no_difference():
    original = _answers([0, 1], [[0.5, 0.5], [0.1, 0.9]])
    found = compare_answers(original, _answers([1, 1], [[0.5, 0.5], [0.1, 0.9]]), SIGNATURE)
    assert found.equal
    assert found.ties == 1
    found = compare_answers(original, _answers([0, 0], [[0.5, 0.5], [0.1, 0.9]]), SIGNATURE)
    assert not found.labels_equal


@pytest.mark.parametrize(
    "got",
    [
        {"predictions": np.array([0])},
        _answers([0, 1], [[0.5, 0.5]]),
        _answers([0.0], [[0.2, 0.8]]),
        _answers(["0"], [[0.2, 0.8]]),
        _answers([0], [[np.nan, 0.8]]),
        _answers([0], [[0.2, 0.8 + 2 * (ATOL + RTOL)]]),
    ],
)
def test_answers_that_are_not_equal(got):
    assert not compare_answers(_answers([0], [[0.2, 0.8]]), got, SIGNATURE).equal


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(-2, 2))
def test_the_tolerance_is_the_stated_one(scores, shift):
    signature = Signature(inputs=(), outputs=(Field(name="p", datatype="FP64", shape=(-1,)),), layout="matrix")
    want = np.array(scores)
    got = want + shift * (ATOL + RTOL * np.abs(want))
    if abs(abs(shift) - 1) > 0.01:
        assert compare_answers({"p": want}, {"p": got}, signature).equal == (abs(shift) < 1)


def test_batching_is_refused_where_rows_touch_each_other():
    rows = {"x": X[:16]}
    assert prove_batching(lambda t: {"y": t["x"].sum(axis=1)}, rows, 0).allowed
    for touching in (
        lambda t: {"y": t["x"].sum(axis=1) - t["x"].mean()},
        lambda t: {"y": np.cumsum(t["x"].sum(axis=1))},
        lambda t: {"y": t["x"].sum(axis=1) * len(t["x"])},
    ):
        assert not prove_batching(touching, rows, 0).allowed

    def only_many(tensors):
        if len(tensors["x"]) == 1:
            raise ModelFailed("model-failed", "needs two rows")
        return {"y": tensors["x"].sum(axis=1)}

    assert "failed" in prove_batching(only_many, rows, 0).reason


def test_perturbed_rows_stay_acceptable_and_repeat_themselves():
    frame = pd.DataFrame(
        {
            "number": np.where(np.arange(60) % 9 == 0, np.nan, np.arange(60) / 7),
            "whole": np.arange(60, dtype=np.int8),
            "huge": np.full(60, 2**63 - 1),
            "open": ["a", "b"] * 30,
            "closed": ["c", "d"] * 30,
        }
    )
    sample = read_sample(frame)
    fields = tuple(
        Field(name=f.name, datatype=f.datatype, shape=f.shape, nullable=f.nullable, categories=f.categories,
              closed=f.name == "closed")
        for f in sample.fields
    )  # fmt: skip
    blocks = perturbed(sample, fields, seed=3)
    assert set(blocks) == {"jitter", "thresholds", "extremes", "missing", "unseen"}
    assert any(value not in ("a", "b") for value in blocks["unseen"]["open"])
    assert np.isnan(blocks["missing"]["number"]).any()
    again = perturbed(sample, fields, seed=3)
    for kind, block in blocks.items():
        for name, values in block.items():
            assert values.dtype == sample.inputs[name].dtype
            assert np.array_equal(values, again[kind][name], equal_nan=values.dtype.kind == "f")
        assert set(block["closed"]) <= {"c", "d"}
        assert (block["huge"] >= 0).all()


def test_an_encoder_on_numbers_closes_its_column(tmp_path):
    frame = pd.DataFrame({"code": np.arange(200) % 3 * 10, "x": X[:, 0]})
    columns = ColumnTransformer([("code", OneHotEncoder(), ["code"]), ("x", "passthrough", ["x"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, Y)
    question = ask_estimator(EstimatorOriginal(model), frame, make_choices("m", {}))
    code = question.signature.inputs[0]
    assert (code.categories, code.closed) == ((0, 10, 20), True)


def test_the_original_is_served_when_asked_for(tmp_path):
    original = EstimatorOriginal(LogisticRegression().fit(X, Y))
    question = ask_estimator(original, X, make_choices("m", {}))
    served = optimise(original, original.store(tmp_path), question, tmp_path, convert=False)
    assert served.artifact.runtime == "sklearn"
    assert served.evidence.reason == "the original was asked for"
