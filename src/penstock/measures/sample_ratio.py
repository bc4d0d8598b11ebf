"""Whether the traffic was divided as planned: if not, nothing that is measured of it can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2


def chi_square(counts: Sequence[int], shares: Sequence[float]) -> tuple[float, float]:
    """The statistic and its p-value, for one look: Fabijan et al. 2019, Diagnosing sample ratio mismatch, KDD.

    Example:
        >>> statistic, p = chi_square([821_588, 815_482], [0.5, 0.5])
        >>> round(statistic, 3), f"{p:.3g}"
        (22.774, '1.82e-06')
    """
    seen = np.asarray(counts, np.float64)
    expected = seen.sum() * np.asarray(shares, np.float64)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return statistic, float(chi2.sf(statistic, len(seen) - 1))


def always_valid_p(counts: Sequence[int], shares: Sequence[float], concentration: float = 1000.0) -> float:
    """A p-value that may be looked at after every unit: below alpha, ever, with a chance of at most alpha.

    Lindon and Malek 2022, Anytime-valid inference for multinomial count data, NeurIPS: the inverse of the Bayes factor
    of a Dirichlet prior around the planned shares; `concentration` is how many units that prior is worth.

    Example:
        >>> always_valid_p([821_588, 815_482], [0.5, 0.5]) < 0.001, always_valid_p([1010, 990], [0.5, 0.5])
        (True, 1.0)
    """
    seen = np.asarray(counts, np.float64)
    planned = np.asarray(shares, np.float64)
    prior = planned * concentration
    log_factor = (
        gammaln(concentration) - gammaln(concentration + seen.sum()) + (gammaln(prior + seen) - gammaln(prior)).sum()
    )
    return float(min(1.0, np.exp(min(0.0, (seen * np.log(planned)).sum() - log_factor))))
