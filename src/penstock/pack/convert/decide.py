"""From raw scores to classes and probabilities, in the few ways the libraries do it."""

from __future__ import annotations

import numpy as np

from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Classified, Value


def both_sides(context: Context, score: Value) -> Value:
    """[rows, 1] as [rows, 2]: minus the score, and the score; exact, so comparing the two is comparing with 0."""
    name = context.graph.op("Mul", score.name, context.graph.constant(np.array([[-1.0, 1.0]], score.dtype)))
    return Value(name, score.dtype, 2)


def logistic(
    context: Context,
    score: Value,
    *,
    scale: float = 1.0,
    zero_is_positive: bool = False,
    sides: Value | None = None,
) -> Classified:
    """Two classes from one score: the second one if it is > 0 (or >= 0), with probability 1 / (1 + exp(-scale x)).

    `sides`, minus the score and the score, can be given where they come cheaper than by `both_sides`.
    """
    sides = sides or both_sides(context, score)
    scaled = sides if scale == 1.0 else context.apply("Mul", sides, scale)
    probabilities = context.apply("Sigmoid", scaled)
    return Classified(context.largest(sides, last=zero_is_positive), probabilities, score)


def softmax(context: Context, scores: Value) -> Classified:
    """One class a column: the largest score, with probabilities exp(x) / sum(exp(x))."""
    return Classified(context.largest(scores), context.apply("Softmax", scores, axis=1), scores)


def normalised(context: Context, scores: Value) -> Value:
    """Each row divided by its sum; a row of zeros becomes uniform, as scikit-learn's one-vs-rest does."""
    total = Value(
        context.graph.op("ReduceSum", scores.name, context.graph.constant(np.array([1])), keepdims=1), scores.dtype, 1
    )
    empty = context.apply("Equal", total, 0.0, dtype="bool")
    share = context.combine("Div", scores, total)
    even = context.graph.constant(np.full((1, 1), 1.0 / scores.width, scores.dtype))
    return Value(context.graph.op("Where", empty.name, even, share.name), scores.dtype, scores.width)


def by_score(context: Context, scores: Value) -> Value:
    """The class index of a decision function: sign of a single column, largest of several."""
    return context.largest(both_sides(context, scores) if scores.width == 1 else scores)
