"""Who gets which arm: the order of what decides, and that every node decides alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.buckets import allocate, bucket_of
from penstock.core.choice import Asked, Choice, Chooser
from penstock.core.errors import NotFound
from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint, Rule, Unit

BETA = Rule(name="beta", arm="new", header="X-Region", values=("eu", "ch"))
STAFF = Rule(name="staff", arm="old", units=("ann",), subjects=("tester",))


def arms(**weights):
    return tuple(
        Arm(name=name, version=f"m/{number}", bundle="", uri="", weight=weight)
        for number, (name, weight) in enumerate(weights.items(), 1)
    )


def chooser(rules=(BETA, STAFF), **fields):
    return Chooser(
        "churn", Endpoint(arms=arms(old=9_000, new=1_000), unit=Unit(header="x-user"), rules=rules, **fields)
    )


def never():
    raise AssertionError("drawn although something had decided")


def test_what_decides_comes_in_its_order():
    everything = {
        "version": "2", "arm": b"new", "headers": {b"x-region": b"eu"}, "unit": "ann", "subject": "tester",
    }  # fmt: skip
    digest, bucket = bucket_of("churn", "ann")
    found = []
    for without in (None, "version", "arm", "headers", "subject"):
        everything.pop(without, None)
        found.append(chooser().choose(Asked(**everything), never))
    assert found == [
        Choice(1, "version", digest), Choice(1, "override", digest), Choice(1, "rule:beta", digest),
        Choice(0, "rule:staff", digest), Choice(0, "rule:staff", digest),
    ]  # fmt: skip
    assert chooser(rules=()).choose(Asked(unit="ann"), never) == Choice(int(bucket >= 9_000), "unit", digest, bucket)
    assert chooser().choose(Asked(), lambda: 0.9) == Choice(1, "weight")
    only = Chooser("churn", Endpoint(arms=arms(old=10_000), unit=Unit(header="x-user")))
    assert only.choose(Asked(unit="ann"), never) == Choice(0, "only-arm", digest)


@pytest.mark.parametrize(
    "asked",
    [
        Asked(headers={b"x-region": b"us"}), Asked(headers={b"x-region": b""}), Asked(headers={b"x-other": b"eu"}),
        Asked(headers={b"x-region": b"eu, ch"}), Asked(subject="ann"), Asked(unit="tester"), Asked(unit="Ann"),
    ],
)  # fmt: skip
def test_a_rule_takes_nobody_it_does_not_name(asked):
    assert not chooser().choose(asked, lambda: 0.0).reason.startswith("rule:")


def test_a_rule_without_units_or_subjects_does_not_take_those_without_one():
    assert chooser(rules=(BETA,)).choose(Asked(), lambda: 0.0).reason == "weight"


def test_an_arm_that_is_not_there_is_not_found():
    for name in (b"", b"old\r\nx: y", b"\xff", b"OLD"):
        with pytest.raises(NotFound) as refused:
            chooser().choose(Asked(arm=name), never)
        assert refused.value.code == "unknown-arm"
        assert "old, new" in str(refused.value)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6), st.integers(0, TOTAL_WEIGHT - 1))
def test_every_bucket_has_one_arm_and_each_arm_its_share(parts, bucket):
    weights = [*parts, 0]
    weights[-1] = TOTAL_WEIGHT - sum(parts)
    if weights[-1] < 0:
        weights = [TOTAL_WEIGHT]
    route = Endpoint(arms=arms(**{f"a{index}": weight for index, weight in enumerate(weights)}))
    chosen = Chooser("churn", route).owner(bucket)
    assert sum(weights[:chosen]) <= bucket < sum(weights[: chosen + 1])


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=4, unique=True), st.text(min_size=1, max_size=20))
def test_while_an_arm_only_grows_nobody_leaves_it(shares, unit):
    ranges, been = {}, False
    for share in sorted(shares):
        ranges = allocate(ranges, {"old": TOTAL_WEIGHT - share, "new": share})
        owned = tuple(
            Arm(name=name, version="m/1", bundle="", uri="", weight=sum(high - low for low, high in pairs),
                buckets=pairs)
            for name, pairs in ranges.items()
        )  # fmt: skip
        route = Endpoint(arms=owned, unit=Unit(header="x-user"), seed="s")
        new = Chooser("churn", route).choose(Asked(unit=unit), never).index == 1
        assert new or not been
        been = new


def test_the_bucket_of_a_unit_is_what_it_was():
    """For ever: another value would move everybody of every running experiment."""
    assert bucket_of("churn", "customer-17") == (10182128525365345946, 5946)
    # A key of BLAKE2b has at most 64 bytes; names of endpoints may be longer.
    assert bucket_of("s" * 65, "ü")[0] not in (bucket_of("s" * 64, "ü")[0], bucket_of("s" * 66, "ü")[0])
