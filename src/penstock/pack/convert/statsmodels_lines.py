"""statsmodels: one matrix product, and the inverse of the link.

Coefficients stand in the order of the design's columns. A formula adds the intercept itself, and may compute with
columns; only one whose terms are the columns themselves has a form here. Source: statsmodels 0.14, `predict` of each
model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Frame, Value

_INTERCEPT = "Intercept"
# What gives the mean from the line, by the name of the link's class.
_INVERSES = {"Identity": "", "Log": "Exp", "Logit": "Sigmoid", "InversePower": "Reciprocal"}
_LINEAR = ("OLS", "WLS", "GLS")


def plain_columns(results: Any) -> tuple[str, ...] | None:
    """The columns of a table that the model takes, in the order of its coefficients; None where it does not say.

    A formula that computes with columns takes others than its design has.
    """
    model = results.model
    names = [str(name) for name in model.exog_names or ()]
    if getattr(model, "formula", None) is None:
        return tuple(names) if hasattr(getattr(model.data, "orig_exog", None), "columns") else None
    terms = [name for name in names if name != _INTERCEPT]
    return tuple(terms) if all(name.isidentifier() for name in terms) else None


def line(context: Context, results: Any, x: Frame) -> Value:
    """OLS, WLS, GLS, GLM, Logit and Poisson."""
    model = results.model
    kind = type(model).__name__
    link = "Identity" if kind in _LINEAR else _link(model, kind)
    if link not in _INVERSES:
        raise CannotConvert(f"statsmodels' {kind} with the link {link} has no converter")
    matrix = context.matrix(x, "float64")
    weights, bias = _line(results, matrix.width)
    value = context.affine(matrix, weights[:, None], bias)
    return context.flat(context.apply(_INVERSES[link], value) if _INVERSES[link] else value)


def _link(model: Any, kind: str) -> str:
    known = {"Logit": "Logit", "Poisson": "Log", "Probit": "Probit"}
    return known.get(kind) or type(getattr(getattr(model, "family", None), "link", None)).__name__


def _line(results: Any, width: int) -> tuple[np.ndarray, float]:
    params = np.asarray(results.params, np.float64)
    names = [str(name) for name in results.model.exog_names or ()]
    if getattr(results.model, "formula", None) is None:
        weights, bias = params, 0.0
    else:
        if plain_columns(results) is None:
            raise CannotConvert("the formula computes with columns")
        inner = np.array([name != _INTERCEPT for name in names])
        weights, bias = params[inner], float(params[~inner].sum())
    if weights.ndim != 1 or len(weights) != width:
        raise CannotConvert(f"the model has {len(weights)} coefficients for {width} columns")
    return weights, bias


REGRESSORS = {
    f"statsmodels.{name}": line
    for name in ("RegressionResultsWrapper", "GLMResultsWrapper", "BinaryResultsWrapper", "PoissonResultsWrapper")
}
