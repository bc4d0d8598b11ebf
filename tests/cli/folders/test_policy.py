"""Which versions of a folder are served."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.folders.policy import Policy, arms_of, check_policy, chosen, numbered
from penstock.core.errors import InvalidInput
from penstock.core.routes import Arm

VERSIONS = st.sets(st.integers(0, 9), max_size=6)
POLICIES = st.builds(
    Policy,
    kind=st.sampled_from(["latest", "all", "specific"]),
    count=st.integers(1, 4),
    versions=st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
)


def test_versions_are_numbers_alone():
    assert numbered(["10", "2", "0", "007", "1.partial", "x", "", "٣", "-1", "9" * 30]) == {
        10: "10", 2: "2", 0: "0", 7: "007"
    }  # fmt: skip
    # Two names of one number: always the same one of them.
    assert numbered(["1", "01"]) == numbered(["01", "1"]) == {1: "1"}


@pytest.mark.parametrize(
    ("policy", "unusable", "expected"),
    [
        (Policy(), (), (3,)),
        (Policy(), (3,), (2,)),
        (Policy(count=2), (), (3, 2)),
        (Policy(count=9), (), (3, 2, 1)),
        (Policy(kind="all"), (2,), (3, 1)),
        (Policy(kind="specific", versions=(1, 3, 7)), (), (3, 1)),
        (Policy(kind="specific", versions=(3,)), (3,), ()),
    ],
)
def test_what_is_chosen(policy, unusable, expected):
    assert chosen([2, 3, 1], policy, unusable) == expected


@given(VERSIONS, POLICIES, VERSIONS)
def test_only_what_is_there_and_usable_newest_first(found, policy, unusable):
    versions = chosen(found, policy, unusable)
    assert set(versions) <= found - unusable
    assert list(versions) == sorted(versions, reverse=True)
    if policy.kind == "latest":
        assert len(versions) == min(policy.count, len(found - unusable))


@given(st.sets(st.integers(0, 9), min_size=1))
def test_the_newest_gets_every_call(versions):
    arm = Arm(name="v", version="m/1", bundle="", uri="", weight=0)
    arms = arms_of({v: msgspec.structs.replace(arm, name=f"v{v}") for v in versions})
    assert [one.weight for one in arms] == [10_000] + [0] * (len(versions) - 1)
    assert arms[0].name == f"v{max(versions)}"


@pytest.mark.parametrize("policy", [Policy(count=0), Policy(kind="specific")])
def test_policies_that_serve_nothing(policy):
    with pytest.raises(InvalidInput) as refusal:
        check_policy("m", policy)
    assert refusal.value.code == "invalid-model-config"
