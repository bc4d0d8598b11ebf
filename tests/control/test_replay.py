"""A change of control's tables that went around the log is found, whatever the table."""

import contextlib

import pytest
from sqlalchemy import text
from tests.control.conftest import ANA, BO, OLA, ONE, spec

from penstock.control.replay import find_unrecorded
from penstock.storage.database import open_database

# What somebody with the database's password does, and what is said of it.
BEHIND_ITS_BACK = [
    ("UPDATE api_keys SET role = 'admin' WHERE role = 'viewer'", "key "),
    ("UPDATE api_keys SET digest = 'sha256:0'", "key "),
    ("UPDATE api_keys SET revoked_at = NULL", "key "),
    ("UPDATE api_keys SET created_by = 'bo'", "key "),
    ("DELETE FROM api_keys WHERE role = 'viewer'", "key "),
    ("UPDATE approvals SET state = 'approved' WHERE state = 'pending'", "approval 2"),
    ("UPDATE approvals SET decided_by = 'cy' WHERE id = 1", "approval 1"),
    ("UPDATE approvals SET request = replace(request, '1', '2') WHERE id = 2", "approval 2"),
    ("UPDATE approvals SET four_eyes = NOT four_eyes WHERE id = 2", "approval 2"),
    ("UPDATE approvals SET requested_by = 'cy' WHERE id = 2", "approval 2"),
    ("DELETE FROM approvals WHERE id = 2", "approval 2"),
    ("UPDATE gate_reports SET verdict = 'pass' WHERE verdict <> 'pass'", "gate report"),
    ("UPDATE gate_reports SET plan = 'sha256:0' WHERE verdict = 'fail'", "gate report"),
    ("UPDATE gate_reports SET report = replace(report, 'told', 'asked')", "gate report"),
    ("DELETE FROM gate_reports WHERE number = 2", "gate report"),
    ("UPDATE releases SET content = replace(content, '10000', '9999') WHERE generation = 1", "in generation 1"),
    ("DELETE FROM releases WHERE content = 'null'", "release of extra"),
    ("UPDATE generations SET endpoints = replace(endpoints, '10000', '9999') WHERE generation = 1", "generation 1"),
    ("UPDATE generations SET endpoints = '{}' WHERE generation = (SELECT max(generation) FROM generations)", "generat"),
    ("UPDATE generations SET spec = replace(spec, 'champion', 'mine')", "generation "),
    ("UPDATE generations SET spec_generation = 1 WHERE generation = 2", "generation 2"),
    ("UPDATE generations SET created_by = 'bo' WHERE generation = 2", "generation 2"),
    ("DELETE FROM generations WHERE generation = 2", "generation 2"),
    ("UPDATE operations SET request = replace(request, 'ana', 'bo') WHERE id = 1", "operation 1"),
    ("UPDATE operations SET error = 'null'", "operation "),
    ("DELETE FROM operations WHERE id = 1", "operation 1"),
    ("DELETE FROM protected_aliases", "protected aliases"),
    ("INSERT INTO protected_aliases VALUES ('other')", "protected aliases"),
]


@pytest.fixture
def eventful(control, register, gates):
    """Everything that control keeps, some of it changed twice, taken back or refused."""
    register(alias="champion")
    control.apply(spec("endpoints: {churn: {model: churn@champion}, extra: {model: churn/1}}"), identity=ANA)
    key = control.create_key("shop", "viewer", identity=ANA, rate_per_s=5)
    control.rotate_key(key.key.id, identity=ANA, grace_s=60)
    gates.verdict = "inconclusive"
    second = register()
    waiting = control.apply(spec(f"endpoints: {{churn: {{model: churn/{second}}}}}"), identity=ANA)
    control.approve(waiting.approval, identity=BO, reason="looked")
    control.continue_operation(waiting.id)
    gates.verdict = "fail"
    assert control.apply(spec(f"endpoints: {{churn: {{model: churn/{register()}}}}}"), identity=ANA).error
    gates.verdict = "pass"
    control.apply(spec(ONE + "\naccess: {required: true}\nprotected_aliases: [champion]"), identity=ANA)
    control.revoke_key(key.key.id, identity=ANA)
    assert control.set_alias("churn", "champion", second, identity=OLA).state == "pending"
    return control


def test_what_happened_is_what_the_log_tells(eventful):
    found = eventful.verify_audit()
    assert found.whole and found.events > 20, found


class _UndoneError(Exception):
    """Nothing of a transaction shall stay."""


def test_what_was_changed_behind_its_back_is_found(eventful, database_url):
    with contextlib.closing(open_database(database_url)) as database:
        for statement, says in BEHIND_ITS_BACK:
            with contextlib.suppress(_UndoneError), database.write() as connection:
                assert connection.execute(text(statement)).rowcount, statement
                found = find_unrecorded(connection)
                assert says in found, f"{statement}: {found or 'not found'}"
                raise _UndoneError
    assert eventful.verify_audit().whole


def test_a_whole_control_says_so(eventful, database_url):
    with contextlib.closing(open_database(database_url)) as database, database.write() as connection:
        connection.execute(text("DELETE FROM api_keys"))
    found = eventful.verify_audit()
    assert not found.whole and found.unrecorded.startswith("key ")
