"""The audit log against somebody who may write to the database: what it refuses, and what it shows afterwards."""

import functools
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError

from penstock.core.names import VersionRef
from penstock.registry.audit import GENESIS, hash_of

NAME = "A0._-z"
COPIED = "time, actor, action, subject, before, after, reason"


@pytest.fixture
def intruder(database_url):
    """A connection of somebody who knows the database's password but not this package."""
    url = make_url(database_url) if not database_url.startswith("sqlite") else None
    url = url.set(drivername="postgresql+psycopg") if url else URL.create("sqlite", database=database_url[10:])
    engine = create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def filled(registry, make_bundle):
    for content in (b"1", b"2"):
        registry.register(make_bundle(content), alias="champion", tags={"é": "✓"}, reason="weekly")
    registry.retire(VersionRef(NAME, 1))
    registry.set_entries(VersionRef(NAME, 2), tags={"é": None, "ok": ""})
    registry.delete_alias(NAME, "champion")
    return registry


def disarm(connection):
    """Drop the triggers, as somebody with every right could."""
    if connection.dialect.name == "sqlite":
        for name in ("update", "delete", "insert"):
            connection.execute(text(f"DROP TRIGGER audit_events_{name}"))
    else:
        connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))


def test_a_log_nobody_touched_is_whole(filled, clock):
    found = filled.verify_audit()
    assert found.whole, found
    assert found.events == len(filled.events())
    assert found.head == filled.events()[-1].hash
    clock.now -= 3600
    filled.set_alias(NAME, "live", 2)
    assert filled.verify_audit(expected=found.head).whole, "a clock set back breaks nothing"


def test_an_empty_log_is_whole(registry):
    assert registry.verify_audit().whole
    assert registry.verify_audit().head == GENESIS


def test_the_hash_can_be_computed_without_this_package(filled, intruder):
    """The recipe of docs/formats/audit.md: SQL and the standard library alone."""
    filled.set_entries(VersionRef(NAME, 2), metrics={"huge": 1e300, "tiny": 1e-7}, reason='a "quoted" \\ ✓\u2028')
    previous = "sha256:" + "0" * 64
    quote = functools.partial(json.dumps, ensure_ascii=False)
    for row in intruder.execute(text("SELECT * FROM audit_events ORDER BY seq")):
        data = (
            f'{{"action":{quote(row.action)},"actor":{quote(row.actor)},"after":{row.after},"before":{row.before},'
            f'"previous":{quote(previous)},"reason":{quote(row.reason)},"seq":{row.seq},'
            f'"subject":{quote(row.subject)},"time":{quote(row.time)}}}'
        )
        previous = "sha256:" + hashlib.sha256(data.encode()).hexdigest()
        assert row.hash == previous
    assert filled.verify_audit().head == previous


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'eve' WHERE seq = 2",
        "UPDATE audit_events SET seq = seq",
        "DELETE FROM audit_events WHERE seq = 2",
        "DELETE FROM audit_events",
        f"INSERT INTO audit_events SELECT 99, {COPIED}, hash, 'x' FROM audit_events WHERE seq = 1",
        f"INSERT INTO audit_events SELECT seq + 1, {COPIED}, previous, 'x' FROM audit_events ORDER BY seq DESC LIMIT 1",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(filled, intruder, statement):
    with pytest.raises(DatabaseError, match=r"append-only|follows the last one"):
        intruder.execute(text(statement))
    intruder.rollback()
    assert filled.verify_audit().whole


def test_ways_around_delete_are_refused(filled, intruder):
    statement = "TRUNCATE audit_events"
    if intruder.dialect.name == "sqlite":
        statement = "INSERT OR REPLACE INTO audit_events SELECT * FROM audit_events WHERE seq = 2"
    with pytest.raises(DatabaseError, match=r"append-only|follows the last one"):
        intruder.execute(text(statement))
    intruder.rollback()
    assert filled.verify_audit().whole


@pytest.mark.parametrize(
    "change",
    [
        "time = '2020'",
        "actor = 'eve'",
        "action = 'x'",
        "subject = 'x/1'",
        "before = '{}'",
        "after = '{\"version\"\\:9}'",
        "after = after || ' '",
        "after = 'not json'",
        "reason = 'x'",
        "previous = seq || 'x'",
        "hash = 'x'",
    ],
)
def test_the_first_changed_event_is_named(filled, intruder, change):
    disarm(intruder)
    intruder.execute(text(f"UPDATE audit_events SET {change} WHERE seq IN (4, 6)"))
    intruder.commit()
    found = filled.verify_audit()
    assert (found.whole, found.broken_at, found.events) == (False, 4, 3)
    assert found.problem


@pytest.mark.parametrize(("which", "broken_at"), [("seq = 1", 1), ("seq = 3", 3), ("seq > 5", 6), ("seq > 0", 1)])
def test_deleted_events_are_missed_at_the_end_too(filled, intruder, which, broken_at):
    disarm(intruder)
    intruder.execute(text(f"DELETE FROM audit_events WHERE {which}"))
    intruder.commit()
    assert filled.verify_audit().broken_at == broken_at


def test_a_log_rewritten_from_end_to_end_lacks_the_hash_noted_down_before(filled, intruder):
    noted = filled.verify_audit().head
    disarm(intruder)
    previous = GENESIS
    for event in filled.events():
        content = {name: getattr(event, name) for name in event.__struct_fields__ if name != "hash"}
        content |= {"actor": "eve", "previous": previous}
        previous = hash_of(content)
        values = {"hash": previous, "previous": content["previous"], "seq": event.seq}
        intruder.execute(
            text("UPDATE audit_events SET actor = 'eve', hash = :hash, previous = :previous WHERE seq = :seq"), values
        )
    intruder.execute(text("UPDATE audit_head SET hash = :hash"), {"hash": previous})
    intruder.commit()
    assert filled.verify_audit().whole, "within the database the forgery is perfect"
    assert "no event has the hash" in filled.verify_audit(expected=noted).problem


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET digest = 'sha256\\:evil' WHERE number = 2",
        "UPDATE versions SET retired = NOT retired WHERE number = 1",
        'UPDATE versions SET waiver = \'{"reason":"x","file_sha256":"y"}\' WHERE number = 2',
        "INSERT INTO aliases VALUES ('A0._-z', 'champion', 1)",
        "UPDATE metrics SET value = 0.99",
        "DELETE FROM tags",
    ],
)
def test_a_change_of_the_tables_that_was_not_recorded_shows(filled, intruder, statement):
    intruder.execute(text(statement))
    intruder.commit()
    found = filled.verify_audit()
    assert not found.whole
    assert NAME in found.unrecorded


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON, JSON)
def test_two_different_contents_have_two_hashes(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (hash_of({"after": first, "before": second}) == hash_of({"after": second, "before": first})) == same
