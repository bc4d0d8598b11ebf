"""Failed attempts by address, with a clock of the test's own."""

import pytest

from penstock.core.errors import Overloaded, Unauthenticated
from penstock.security import failures as module
from penstock.security.failures import Failures
from penstock.security.keys import invalid_key
from penstock.security.rates import Rate


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def failures(clock):
    return Failures(clock, Rate(per_s=0.5, burst=3))


def code(failures, peer="192.0.2.1", error=None):
    return failures.told(error or invalid_key(), peer).code


def test_a_few_failures_are_told_what_is_wrong_and_then_to_wait(failures, clock):
    assert [code(failures) for _ in range(5)] == 3 * ["invalid-key"] + 2 * ["too-many-failures"]
    told = failures.told(invalid_key(), "192.0.2.1")
    assert isinstance(told, Overloaded)
    assert told.retry_after_s == 2
    clock.now += told.retry_after_s
    assert [code(failures) for _ in range(2)] == ["invalid-key", "too-many-failures"]


def test_others_are_not_concerned(failures):
    for _ in range(9):
        code(failures)
    assert code(failures, "192.0.2.2") == "invalid-key"


def test_only_guesses_count(failures):
    for kind in ("missing-key", "expired-key"):
        assert {code(failures, error=Unauthenticated(kind, "")) for _ in range(9)} == {kind}
    assert {code(failures, peer="") for _ in range(9)} == {"invalid-key"}
    assert code(failures, error=Unauthenticated("invalid-token", "")) == "invalid-token"


def test_an_attacker_s_ipv6_network_is_one_address(failures):
    said = [code(failures, f"2001:db8:1:2::{number:x}") for number in range(5)]
    assert said == 3 * ["invalid-key"] + 2 * ["too-many-failures"]
    assert code(failures, "2001:db8:1:3::1") == "invalid-key"
    # The same host, by a socket that speaks both.
    assert [code(failures, peer) for peer in 2 * ("192.0.2.9", "::ffff:192.0.2.9")][3] == "too-many-failures"


def test_the_memory_is_bounded_and_who_goes_on_failing_stays(failures, monkeypatch):
    monkeypatch.setattr(module, "_MOST_NETWORKS", 8)
    for number in range(100):
        code(failures, f"192.0.2.{number}")
        last = code(failures, "198.51.100.1")
        assert len(failures._full_at) <= 8
    assert last == "too-many-failures"
