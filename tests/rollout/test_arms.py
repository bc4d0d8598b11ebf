"""The arms of an endpoint at each point of a rollout: weights that sum, old versions in their proportions."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint
from penstock.rollout.arms import endpoint_of
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.state import Rollout, RolloutState

DIGEST = "sha256:" + "0" * 64


def endpoint(*weights):
    return Endpoint(
        arms=tuple(
            Arm(name=f"arm-{number}", version=f"churn/{number}", bundle=DIGEST, uri="", weight=weight)
            for number, weight in enumerate(weights, 1)
        )
    )


@st.composite
def divisions(draw):
    """Weights of one to five arms that sum to the whole."""
    cuts = sorted(draw(st.lists(st.integers(0, TOTAL_WEIGHT), max_size=4)))
    return [high - low for low, high in zip([0, *cuts], [*cuts, TOTAL_WEIGHT], strict=True)]


@given(divisions(), st.integers(0, TOTAL_WEIGHT))
def test_old_versions_keep_their_proportions_and_the_largest_takes_the_rounding(weights, weight):
    before, after = endpoint(*weights), endpoint(TOTAL_WEIGHT)
    state = RolloutState(phase="step", since=0.0, weight=weight)
    found = endpoint_of(
        Rollout(endpoint="churn", plan=RolloutPlan(), before=before, after=after, seed="s", state=state), before
    )
    *olds, new = (arm.weight for arm in found.arms)
    assert (new, sum(olds)) == (weight, TOTAL_WEIGHT - weight)
    largest = weights.index(max(weights))
    for index, (was, now) in enumerate(zip(weights, olds, strict=True)):
        exact = was * (TOTAL_WEIGHT - weight) / TOTAL_WEIGHT
        assert exact - 1 < now <= exact if index != largest else exact <= now < exact + len(weights)
    assert [sum(high - low for low, high in arm.buckets) for arm in found.arms] == [*olds, new]
