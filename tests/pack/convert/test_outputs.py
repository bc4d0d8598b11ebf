"""Labels and scores come out as the signature says."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from tests.pack.convert.proof import answers, check, convert, session_of, signature_of

from penstock.core.signature import Field, Signature
from penstock.pack.convert import CannotConvert, candidates

X = np.random.default_rng(0).standard_normal((100, 3))
SIGN = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1]),
        np.array([-1, 1]),
        np.array([3, 7], np.int8),
        np.array([False, True]),
        np.array([0.0, 1.0]),
        np.array(["no", "yes"]),
        np.array(["a", "ü"], object),
    ],
    ids=str,
)
def test_labels_of_every_kind(labels):
    check(DecisionTreeClassifier(max_depth=3).fit(X, labels[SIGN]), X)


def test_labels_that_are_neither_text_nor_numbers_are_refused():
    estimator = LogisticRegression().fit(X, SIGN)
    estimator.classes_ = np.array([None, "a"], object)
    with pytest.raises(CannotConvert, match="neither"):
        candidates(estimator, "sklearn", signature_of(X))


def test_outputs_take_the_datatypes_of_the_signature():
    estimator = LogisticRegression().fit(X, SIGN)
    outputs = (
        Field(name="predictions", datatype="INT32", shape=(-1,)),
        Field(name="probabilities", datatype="FP32", shape=(-1, 2)),
    )
    plain = signature_of(X, estimator.classes_)
    asked = Signature(inputs=plain.inputs, outputs=outputs, layout="matrix", classes=plain.classes)
    found = answers(candidates(estimator, "sklearn", asked)[0].model, X)
    assert (found["predictions"].dtype, found["probabilities"].dtype) == (np.int32, np.float32)


def test_an_output_that_the_model_has_not_is_refused():
    estimator = LinearRegression().fit(X, X[:, 0])
    outputs = (Field(name="probabilities", datatype="FP64", shape=(-1, 2)),)
    asked = Signature(inputs=signature_of(X).inputs, outputs=outputs, layout="matrix")
    with pytest.raises(CannotConvert, match="probabilities"):
        candidates(estimator, "sklearn", asked)


def test_classes_in_another_order_are_refused():
    estimator = LogisticRegression().fit(X, SIGN)
    with pytest.raises(CannotConvert, match="order"):
        candidates(estimator, "sklearn", signature_of(X, np.array([1, 0])))


def test_tensors_are_refused():
    with pytest.raises(CannotConvert, match="matrix or a table"):
        candidates(LinearRegression(), "sklearn", Signature(inputs=(), outputs=(), layout="tensors"))


class Stranger(ClassifierMixin, BaseEstimator):
    """An estimator that nobody knows."""


class Changed(LogisticRegression):
    """A subclass may predict otherwise."""


@pytest.mark.parametrize("estimator", [Stranger(), Changed().fit(X, SIGN)], ids=lambda e: type(e).__name__)
def test_a_class_without_converter_is_refused(estimator):
    with pytest.raises(CannotConvert, match="there is no converter"):
        candidates(estimator, "sklearn", signature_of(X, np.array([0, 1])))


def test_an_estimator_that_lacks_what_its_converter_reads_is_refused():
    estimator = LogisticRegression().fit(X, SIGN)
    del estimator.coef_
    with pytest.raises(CannotConvert, match="AttributeError"):
        candidates(estimator, "sklearn", signature_of(X, estimator.classes_))


def test_a_target_column_of_width_one_is_flat():
    estimator = LinearRegression().fit(X, X[:, :1])
    check(estimator, X)


def test_single_precision_is_said():
    three = SIGN + (X[:, 1] > 0)
    forest = candidates(DecisionTreeClassifier().fit(X, three), "sklearn", signature_of(X, np.unique(three)))[0]
    assert "single precision" in forest.note
    assert candidates(DecisionTreeClassifier().fit(X, SIGN), "sklearn", signature_of(X, np.unique(SIGN)))[0].note == ""
    assert forest.converter.keys() == {"onnx", "penstock", "scikit-learn"}


def test_no_row_and_one_row():
    model = convert(DecisionTreeClassifier(max_depth=3).fit(X, SIGN), X)
    for rows in (0, 1):
        predictions, probabilities = session_of(model).run(None, {"x": X[:rows]})
        assert (predictions.shape, probabilities.shape) == ((rows,), (rows, 2))
