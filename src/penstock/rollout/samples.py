"""What was seen of two versions, as arrays: all that a verdict is made from."""

from __future__ import annotations

import msgspec
import numpy as np

from penstock.measures.arrays import Floats

_NONE = np.zeros(0)


class Seen(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What was seen of both arms while the shares were the same.

    `share` is the challenger's planned part of the traffic of the two. `baseline` and `challenger` hold a value for
    each unit, in the order of their first calls (its calls' mean), or for each call where there is no unit. For
    quantiles of units they hold a value for each call, and the weights give every unit the same weight. `covariates`
    are values from before, one for each of the others.
    """

    share: float
    baseline: Floats = _NONE
    challenger: Floats = _NONE
    weights: tuple[Floats, Floats] | None = None
    units: tuple[int, int] | None = None
    covariates: tuple[Floats, Floats] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many units, or calls, each arm has."""
        return self.units if self.units is not None else (len(self.baseline), len(self.challenger))


def total(seen: tuple[Seen, ...]) -> tuple[int, int]:
    """How many units, or calls, each arm has in all strata together."""
    return sum(one.counts[0] for one in seen), sum(one.counts[1] for one in seen)


def joined(seen: tuple[Seen, ...]) -> tuple[Floats, Floats]:
    """Each arm's values of all strata, of the arm that has more only as many as the other has in that stratum.

    So both arms have the same mixture of times, whatever the shares were.
    """
    matched = [(one.baseline[: min(one.counts)], one.challenger[: min(one.counts)]) for one in seen]
    return (
        np.concatenate([one for one, _ in matched]) if matched else _NONE,
        np.concatenate([two for _, two in matched]) if matched else _NONE,
    )


def weighted(seen: tuple[Seen, ...]) -> list[tuple[Floats, Floats, int]]:
    """For each arm the values of all strata, weights that give both arms the same mixture of times, and its units.

    In one stratum every unit of an arm weighs the same. Of several, each weighs in both arms as much as the arm that
    has fewer units in it, which is also how many independent values are counted.
    """
    found = []
    for arm in (0, 1):
        values, weights, units = [_NONE], [_NONE], 0
        for one in seen:
            counted = one.counts[arm] if len(seen) == 1 else min(one.counts)
            if not counted:
                continue
            own = one.weights[arm] if one.weights is not None else np.ones(len((one.baseline, one.challenger)[arm]))
            values.append((one.baseline, one.challenger)[arm])
            weights.append(own * (counted / own.sum()))
            units += counted
        found.append((np.concatenate(values), np.concatenate(weights), units))
    return found
