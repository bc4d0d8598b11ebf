"""The table of keys, with a clock of the test's own; what a request may learn from each refusal."""

import ast
import inspect

import pytest

from penstock.core.errors import Forbidden, Overloaded, PenstockError, Unauthenticated
from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key
from penstock.serving import access as module
from penstock.serving.access import AccessTable, access_table
from penstock.serving.buckets import open_buckets

KEYS = {name: new_key() for name in ("ana", "bo", "late", "slow")}


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def entry(name, **rules):
    return KeyEntry(digest=KEYS[name][2], subject=name, **rules)


def access_of(**entries):
    return Access(keys={KEYS[name][1]: entry(name, **rules) for name, rules in entries.items()})


@pytest.fixture
def table(clock, tmp_path):
    access = access_of(ana={}, bo={"endpoints": ("churn",)}, late={"expires_at": 2_000.0}, slow={"rate_per_s": 2.0})
    return AccessTable(access, open_buckets(tmp_path, [KEYS["slow"][1]]), clock=clock)


def bearer(name):
    return {b"authorization": b"Bearer " + KEYS[name][0].encode()}


def code_of(call, *arguments):
    with pytest.raises(PenstockError) as refused:
        call(*arguments)
    return type(refused.value), refused.value.code


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: {b"authorization": b"Bearer " + key},
        lambda key: {b"authorization": b"bearer   " + key},
        lambda key: {b"x-api-key": key},
        lambda key: {b"penstock-key": key},
        # A proxy's own password, or a gateway's token, stands in the first place.
        lambda key: {b"authorization": b"Basic YTpi", b"x-api-key": key},
        lambda key: {b"authorization": b"Bearer eyJhbGciOiJub25lIn0.e30.", b"penstock-key": key},
    ],
)
def test_a_key_may_stand_in_any_of_its_headers(table, headers):
    for _ in range(3):
        assert table.admit(headers(KEYS["ana"][0].encode()), "churn", 0.0).subject == "ana"


def test_no_key_is_told_apart_from_a_wrong_one(table):
    for headers in ({}, {b"content-type": b"application/json"}):
        assert code_of(table.admit, headers, "churn", 0.0) == (Unauthenticated, "missing-key")


def test_a_wrong_key_and_an_unknown_one_get_the_same_answer(table):
    good = KEYS["ana"][0].encode()
    table.admit({b"authorization": b"Bearer " + good}, "churn", 0.0)
    stranger = new_key()[0].encode()
    said = set()
    for value in (good[:-2] + (b"AA" if good[-2:] != b"AA" else b"BB"), stranger, b"pk_x", b"", b"Bearer", b"\xff\x00"):
        for header in (b"authorization", b"x-api-key", b"penstock-key"):
            for form in (value, b"Bearer " + value):
                with pytest.raises(Unauthenticated) as refused:
                    table.admit({header: form}, "churn", 0.0)
                said.add(str(refused.value))
    assert len(said) == 1
    assert KEYS["ana"][1] not in said.pop()


def test_an_unknown_id_costs_the_same_comparison():
    """By structure: the digest is compared before it is looked at whether there is an entry."""
    (condition,) = [
        node.test
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.If) and "matches(" in ast.unparse(node.test)
    ]
    first, second = condition.values
    assert "matches(" in ast.unparse(first)
    assert "not in self._entries" in ast.unparse(second)


def test_a_key_is_for_its_endpoints_alone(table):
    table.admit(bearer("bo"), "churn", 0.0)
    for endpoint in ("fraud", "chur", "", "CHURN"):
        assert code_of(table.admit, bearer("bo"), endpoint, 0.0) == (Forbidden, "endpoint-forbidden")
        assert code_of(table.look, bearer("bo"), endpoint) == (Forbidden, "endpoint-forbidden")
    assert table.identify(bearer("bo")).may_call("churn")
    assert table.look(bearer("ana"), "fraud").subject == "ana"


def test_a_key_expires_also_when_it_was_good_a_moment_ago(table, clock):
    table.admit(bearer("late"), "churn", 0.0)
    clock.now = 1_999.9
    table.admit(bearer("late"), "churn", 0.0)
    for now in (2_000.0, 1e9):
        clock.now = now
        assert code_of(table.admit, bearer("late"), "churn", 0.0) == (Unauthenticated, "expired-key")
        assert code_of(table.identify, bearer("late")) == (Unauthenticated, "expired-key")
    # A clock that is set right again: the key's time is not over.
    clock.now = 1_500.0
    table.admit(bearer("late"), "churn", 0.0)


def test_a_rate_is_counted_by_the_monotonic_clock_whatever_the_other_does(table, clock):
    for _ in range(2):
        table.admit(bearer("slow"), "churn", 10.0)
    clock.now += 1e6
    with pytest.raises(Overloaded) as refused:
        table.admit(bearer("slow"), "churn", 10.0)
    assert (refused.value.code, refused.value.retry_after_s) == ("rate-exceeded", 1)
    assert table.admit(bearer("slow"), "churn", 10.5).subject == "slow"
    # Looking at pages costs nothing.
    for _ in range(10):
        table.look(bearer("slow"), "churn")
    table.admit(bearer("slow"), "churn", 11.0)


def test_a_refused_call_takes_nothing_from_the_rate(clock, tmp_path):
    access = access_of(slow={"rate_per_s": 1.0, "endpoints": ("churn",)})
    table = AccessTable(access, open_buckets(tmp_path, access.keys), clock=clock)
    for _ in range(5):
        assert code_of(table.admit, bearer("slow"), "fraud", 1.0)[1] == "endpoint-forbidden"
    table.admit(bearer("slow"), "churn", 1.0)
    assert code_of(table.admit, bearer("slow"), "churn", 1.0)[1] == "rate-exceeded"


def test_processes_share_the_buckets_and_new_routes_do_not_fill_them(clock, tmp_path):
    access = access_of(slow={"rate_per_s": 2.0})
    one = AccessTable(access, open_buckets(tmp_path, access.keys), clock=clock)
    two = AccessTable(access, open_buckets(tmp_path, access.keys), clock=clock)
    one.admit(bearer("slow"), "churn", 5.0)
    two.admit(bearer("slow"), "churn", 5.0)
    again = access_table(access_of(slow={"rate_per_s": 2.0}, ana={}), one, tmp_path, str)
    for table in (one, two, again):
        assert code_of(table.admit, bearer("slow"), "churn", 5.0)[1] == "rate-exceeded"
    assert len(list(tmp_path.glob("rates-*"))) == 1


def test_other_keys_with_a_rate_have_other_buckets_and_the_old_file_goes(tmp_path):
    before = open_buckets(tmp_path, ["a", "b"])
    before.cells[before.index["b"]] = 7.0
    after = open_buckets(tmp_path, ["b", "c"])
    assert list(after.cells) == [0.0, 0.0]
    assert len(list(tmp_path.glob("rates-*"))) == 1
    before.cells[0] = 8.0


def test_without_room_for_a_file_a_process_counts_for_itself(tmp_path):
    buckets = open_buckets(tmp_path / "nowhere", ["a"])
    buckets.cells[buckets.index["a"]] = 3.0
    assert list(buckets.cells) == [3.0]


def test_a_table_lives_as_long_as_its_keys_do(tmp_path):
    first = access_table(access_of(ana={}), None, tmp_path, str)
    first.admit(bearer("ana"), "churn", 0.0)
    assert access_table(access_of(ana={}), first, tmp_path, str) is first
    revoked = access_table(access_of(bo={}), first, tmp_path, str)
    assert code_of(revoked.admit, bearer("ana"), "churn", 0.0) == (Unauthenticated, "invalid-key")
    assert access_table(None, first, tmp_path, str) is None
    # The same id with another secret is another key: rotated.
    rotated = Access(keys={KEYS["ana"][1]: KeyEntry(digest=KEYS["bo"][2], subject="ana")})
    table = access_table(rotated, first, tmp_path, str)
    assert code_of(table.admit, bearer("ana"), "churn", 0.0) == (Unauthenticated, "invalid-key")


def test_what_is_remembered_is_bounded_and_never_a_wrong_key(table, monkeypatch):
    monkeypatch.setattr(module, "_MOST_KNOWN", 8)
    good = KEYS["ana"][0].encode()
    for spaces in range(50):
        table.admit({b"x-api-key": b"Bearer " + spaces * b" " + good}, "churn", 0.0)
        with pytest.raises(Unauthenticated):
            table.admit({b"x-api-key": spaces * b"x" + b"pk_"}, "churn", 0.0)
        assert len(table._known) <= 8


def test_all_answers_are_errors_of_ours_or_a_caller(table):
    for size in range(60):
        value = bytes((size * 37 + index * 91) % 256 for index in range(size))
        for header in (b"authorization", b"x-api-key"):
            assert code_of(table.admit, {header: b"pk_" + value}, "churn", 0.0)[1] == "invalid-key"
