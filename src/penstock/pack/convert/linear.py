"""Linear models of scikit-learn: one matrix product, and what each makes of its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import both_sides, by_score, logistic, normalised, softmax
from penstock.pack.convert.values import Classified, Frame, Value


def _scores(context: Context, estimator: Any, x: Frame) -> Value:
    coefficients = np.atleast_2d(estimator.coef_)
    # float32 rows times double coefficients are doubles in numpy; the float dtype only says how x was rounded.
    matrix = context.cast(context.matrix(x), "float64")
    return context.affine(matrix, coefficients.T, np.asarray(estimator.intercept_).ravel())


def softmax_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """LogisticRegression and linear discriminant analysis: logistic of one score, softmax of several."""
    scores = _scores(context, estimator, x)
    return (
        logistic(context, scores, sides=_sides(context, estimator, x))
        if scores.width == 1
        else softmax(context, scores)
    )


def _sides(context: Context, estimator: Any, x: Frame) -> Value:
    """Minus the score and the score in one product; negated weights give exactly the negated score."""
    row, bias = np.ravel(estimator.coef_), float(np.ravel(estimator.intercept_)[0])
    matrix = context.cast(context.matrix(x), "float64")
    return context.affine(matrix, np.stack([-row, row], axis=1), [-bias, bias])


def one_against_rest(context: Context, estimator: Any, x: Frame) -> Classified:
    """SGDClassifier: probabilities only for the losses that have them."""
    scores = _scores(context, estimator, x)
    index = by_score(context, scores)
    if estimator.loss == "log_loss":
        if scores.width == 1:
            return logistic(context, scores)
        return Classified(index, normalised(context, context.apply("Sigmoid", scores)), scores)
    if estimator.loss == "modified_huber":
        sides = both_sides(context, scores) if scores.width == 1 else scores
        clipped = context.apply("Clip", sides, -1.0, 1.0)
        shares = context.apply("Mul", context.apply("Add", clipped, 1.0), 0.5)
        return Classified(index, shares if scores.width == 1 else normalised(context, shares), scores)
    return Classified(index, None, scores)


def by_margin(context: Context, estimator: Any, x: Frame) -> Classified:
    """Linear classifiers without probabilities."""
    scores = _scores(context, estimator, x)
    return Classified(by_score(context, scores), None, scores)


def line(context: Context, estimator: Any, x: Frame) -> Value:
    """Linear regressors of one or several targets."""
    out = _scores(context, estimator, x)
    return context.flat(out) if out.width == 1 else out


def log_line(context: Context, estimator: Any, x: Frame) -> Value:
    """Generalised linear models: the inverse link of the line."""
    link = type(estimator._base_loss.link).__name__
    out = context.flat(_scores(context, estimator, x))
    if link == "LogLink":
        return context.apply("Exp", out)
    if link == "IdentityLink":
        return out
    raise CannotConvert(f"{class_name(estimator)} has the link {link}")


CLASSIFIERS = {
    **dict.fromkeys(
        ("sklearn.LogisticRegression", "sklearn.LogisticRegressionCV", "sklearn.LinearDiscriminantAnalysis"),
        softmax_classes,
    ),
    "sklearn.SGDClassifier": one_against_rest,
    **dict.fromkeys(
        (
            "sklearn.RidgeClassifier",
            "sklearn.RidgeClassifierCV",
            "sklearn.LinearSVC",
            "sklearn.Perceptron",
            "sklearn.PassiveAggressiveClassifier",
        ),
        by_margin,
    ),
}
REGRESSORS = {
    **dict.fromkeys(
        (
            f"sklearn.{name}"
            for name in (
                "LinearRegression",
                "Ridge",
                "RidgeCV",
                "Lasso",
                "LassoCV",
                "LassoLars",
                "LassoLarsCV",
                "LassoLarsIC",
                "Lars",
                "LarsCV",
                "ElasticNet",
                "ElasticNetCV",
                "MultiTaskLasso",
                "MultiTaskElasticNet",
                "BayesianRidge",
                "ARDRegression",
                "HuberRegressor",
                "TheilSenRegressor",
                "SGDRegressor",
                "PassiveAggressiveRegressor",
                "LinearSVR",
                "QuantileRegressor",
                "OrthogonalMatchingPursuit",
                "OrthogonalMatchingPursuitCV",
            )
        ),
        line,
    ),
    **dict.fromkeys(("sklearn.PoissonRegressor", "sklearn.GammaRegressor", "sklearn.TweedieRegressor"), log_line),
}
