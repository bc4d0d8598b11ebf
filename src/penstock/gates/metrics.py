"""scikit-learn's metrics by name, on answers that were given before.

Each scorer is handed an estimator that knows its answers by row number, so that a resample costs no prediction and
every metric is scikit-learn's own.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from math import isfinite, nan
from typing import Any

import msgspec
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.gates.intervals import Rows
from penstock.pack.arrays import Values


class Metric(msgspec.Struct, frozen=True):
    """A metric: scikit-learn's scorer, and whether its number was turned round.

    A scorer is better when it is greater; `neg_mean_squared_error` is one, `mean_squared_error` is its opposite.
    """

    name: str
    scorer: Any
    sign: int

    def value(self, answered: Answered, truth: Values, rows: Rows) -> float:
        """The metric on these rows; nan where it is not defined, as a ranking is with one class only."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.sign * float(self.scorer(answered, rows, truth[rows]))
            except ValueError:
                return nan

    def check(self, answered: Answered, truth: Values) -> float:
        """The metric on all rows; raises InvalidInput (`undefined-metric`) with the reason where there is none."""
        rows = np.arange(len(truth))
        reason = "it is not defined for these rows; is there only one class?"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = self.sign * float(self.scorer(answered, rows, truth))
            except (ValueError, AttributeError, TypeError) as error:
                value, reason = nan, " ".join(str(error).split())[:300]
        if not isfinite(value):
            raise InvalidInput("undefined-metric", f"{self.name} cannot be computed: {reason}")
        return value


def find_metric(name: str) -> Metric:
    """The metric of this name; raises InvalidInput (`unknown-metric`) with the nearest one.

    Example:
        >>> find_metric("mean_squared_error").sign, find_metric("f1_macro").sign
        (-1, 1)
        >>> find_metric("acuracy")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: there is no metric 'acuracy'; did you mean 'accuracy'? [unknown-metric]
    """
    known = get_scorer_names()
    for scorer, sign in ((name, 1), (f"neg_{name}", -1)):
        if scorer in known:
            return Metric(name, get_scorer(scorer), sign)
    near = get_close_matches(name, [*known, *(one.removeprefix("neg_") for one in known)], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "use a name of sklearn.metrics.get_scorer_names()"
    raise InvalidInput("unknown-metric", f"there is no metric {name[:60]!r}", hint=hint)


class Answered(BaseEstimator):  # type: ignore[misc]
    """An estimator whose rows are numbers of rows that were answered before."""

    def __init__(self, predictions: Values, probabilities: Values | None = None) -> None:
        self.predictions = predictions
        self.probabilities = probabilities

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, x: Rows, y: Values) -> Answered:
        """Nothing to learn."""
        return self

    def predict(self, x: Rows) -> Values:
        """The labels, as numbers of classes, or the numbers that were answered for these rows."""
        answers: Values = self.predictions[x]
        return answers


class AnsweredNumbers(RegressorMixin, Answered):  # type: ignore[misc]
    """Numbers."""


class AnsweredLabels(ClassifierMixin, Answered):  # type: ignore[misc]
    """Labels without probabilities; `classes_` are numbers of classes."""

    def __init__(self, predictions: Values, probabilities: Values | None = None, classes: int = 0) -> None:
        super().__init__(predictions, probabilities)
        self.classes = classes
        self.classes_ = np.arange(classes)


class AnsweredProbabilities(AnsweredLabels):
    """Labels with probabilities."""

    def predict_proba(self, x: Rows) -> Values:
        """The probabilities that were answered for these rows."""
        answers: Values = np.asarray(self.probabilities)[x]
        return answers


def answered(signature: Signature, outputs: Tensors) -> Answered:
    """The answers as an estimator. Labels become numbers of their classes, in the signature's order.

    So of two classes the second is the positive one. Raises InvalidInput (`unscorable-output`).
    """
    answers = outputs.get("predictions")
    if answers is None or answers.ndim != 1:
        raise InvalidInput(
            "unscorable-output", "metrics need one answer a row, in an output 'predictions' of shape [-1]"
        )
    if signature.classes is None:
        if answers.dtype.kind not in "iuf":
            raise InvalidInput("unscorable-output", "the model answers text and names no classes")
        return AnsweredNumbers(answers.astype(np.float64))
    labels, classes = class_numbers(signature, answers), len(signature.classes)
    scores = outputs.get("probabilities")
    if scores is None or scores.shape != (len(answers), classes):
        return AnsweredLabels(labels, classes=classes)
    return AnsweredProbabilities(labels, scores.astype(np.float64), classes)


def class_numbers(signature: Signature, values: Values) -> Values:
    """Labels as numbers of their classes; what is no class gets a number of its own, after them.

    Example:
        >>> signature = Signature(inputs=(), outputs=(), layout="table", classes=("no", "yes"))
        >>> class_numbers(signature, np.array(["yes", "no", "maybe"], object)).tolist()
        [1, 0, 2]
    """
    classes = signature.classes or ()
    numbers: dict[Any, int] = {value: number for number, value in enumerate(classes)}
    # A file holds as text what the model knows as a number, or the other way round.
    texts = {str(value): number for number, value in enumerate(classes)}
    return np.array([numbers.get(value, texts.get(str(value), len(classes))) for value in values.tolist()], np.int64)


def truth_of(signature: Signature, target: Values) -> Values:
    """The true answers in the form that the answers have; raises InvalidInput (`wrong-target`)."""
    if signature.classes is None:
        if target.dtype.kind not in "iuf":
            raise InvalidInput("wrong-target", "the target is no number, and the model answers numbers")
        return target.astype(np.float64)
    numbers = class_numbers(signature, target)
    if (numbers == len(signature.classes)).all():
        raise InvalidInput(
            "wrong-target", "no value of the target is a class of the model",
            hint=f"its classes are {', '.join(map(repr, signature.classes[:10]))}",
        )  # fmt: skip
    return numbers
