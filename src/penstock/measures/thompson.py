"""Traffic by the chance of being best: Thompson sampling, over the batch of calls until the next look.

Thompson 1933, On the likelihood that one unknown probability exceeds another, Biometrika 25: 285-294; for batches Scott
2010, A modern Bayesian look at the multi-armed bandit, Applied Stochastic Models in Business and Industry 26: 639-658.
Weights that follow what was seen earn more on the way; what they say of the arms is no test of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.core.errors import InvalidInput
from penstock.core.routes import TOTAL_WEIGHT
from penstock.measures.arrays import Floats
from penstock.measures.asymptotic import Moments

DRAWS = 10_000


def best_rate(successes: Sequence[int], trials: Sequence[int], rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Each arm's chance of having the highest rate, from a uniform prior (Beta-Bernoulli).

    Example:
        >>> best_rate([20, 30], [100, 100], np.random.default_rng(1)).round(1).tolist()
        [0.1, 0.9]
    """
    won, lost = np.asarray(successes), np.asarray(trials) - np.asarray(successes)
    return _shares(rng.beta(1 + won, 1 + lost, (draws, len(won))))


def best_mean(arms: Sequence[Moments], rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Each arm's chance of having the highest mean: normal values, nothing known before.

    What is believed of a mean is then Student's t with n - 1 degrees of freedom. While an arm has fewer than two
    values, all arms are as likely.

    Example:
        >>> arms = Moments(50, 10.0, 4.0), Moments(50, 10.5, 4.0), Moments(50, 9.0, 4.0)
        >>> best_mean(arms, np.random.default_rng(1)).round(1).tolist()
        [0.1, 0.9, 0.0]
    """
    if any(arm.count < 2 for arm in arms):
        return np.full(len(arms), 1 / len(arms))
    count, mean, variance = (np.array(column, np.float64) for column in zip(*map(_fields, arms), strict=True))
    return _shares(mean + np.sqrt(variance / count) * rng.standard_t(count - 1, (draws, len(arms))))


def weights(chances: npt.ArrayLike, least: int = 0) -> tuple[int, ...]:
    """Weights that sum to 10 000: `least` for each arm, the rest by the chances, what rounding leaves to the largest.

    Raises InvalidInput (`invalid-least-weight`) where the arms cannot all have `least`.

    Example:
        >>> weights([0.9, 0.1, 0.0], least=500)
        (8150, 1350, 500)
    """
    parts = np.asarray(chances, np.float64)
    rest = TOTAL_WEIGHT - least * len(parts)
    if least < 0 or rest < 0:
        raise InvalidInput(
            "invalid-least-weight",
            f"{len(parts)} arms cannot have {least} of {TOTAL_WEIGHT} each",
            hint="less for each",
        )
    exact = rest * parts / parts.sum()
    whole = np.floor(exact).astype(int)
    for index in np.argsort(whole - exact, kind="stable")[: rest - whole.sum()]:
        whole[index] += 1
    return tuple(int(weight) for weight in whole + least)


def _fields(arm: Moments) -> tuple[int, float, float]:
    return arm.count, arm.mean, arm.variance


def _shares(drawn: Floats) -> Floats:
    """How often each column has the highest value."""
    found: Floats = np.bincount(drawn.argmax(axis=1), minlength=drawn.shape[1]) / len(drawn)
    return found
