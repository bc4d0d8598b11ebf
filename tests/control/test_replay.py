"""A change of control's tables that went around the log is found, whatever the table."""

import pytest
from sqlalchemy import text
from tests.control.conftest import ANA, BO, ONE, spec

from penstock.storage.database import open_database


@pytest.fixture
def eventful(control, register, gates):
    """Everything that control keeps, some of it changed twice."""
    register(alias="champion")
    control.apply(spec(ONE), identity=ANA)
    key = control.create_key("shop", "viewer", identity=ANA, rate_per_s=5)
    control.rotate_key(key.key.id, identity=ANA, grace_s=60)
    gates.verdict = "inconclusive"
    second = register()
    waiting = control.apply(spec(f"endpoints: {{churn: {{model: churn/{second}}}}}"), identity=ANA)
    control.approve(waiting.approval, identity=BO)
    control.continue_operation(waiting.id)
    control.apply(spec("access: {required: true}"), identity=ANA)
    control.revoke_key(key.key.id, identity=ANA)
    control.apply(spec(ONE), identity=ANA)
    return control


def test_what_happened_is_what_the_log_tells(eventful):
    found = eventful.verify_audit()
    assert found.whole and found.events > 10, found


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE api_keys SET role = 'admin' WHERE role = 'viewer'", "key "),
        ("UPDATE api_keys SET digest = 'sha256:0'", "key "),
        ("UPDATE api_keys SET revoked_at = NULL", "key "),
        ("DELETE FROM api_keys WHERE role = 'viewer'", "key "),
        ("UPDATE approvals SET state = 'refused'", "approval 1"),
        ("UPDATE gate_reports SET verdict = 'pass'", "gate report"),
        ("UPDATE releases SET content = replace(content, '10000', '9999')", "endpoint churn"),
        ("UPDATE generations SET endpoints = replace(endpoints, '10000', '9999')", "endpoint churn"),
        ("UPDATE generations SET spec = replace(spec, 'champion', 'mine')", "spec of generation"),
        ("DELETE FROM generations WHERE generation = 2", "spec of generation 2"),
    ],
)
def test_what_was_changed_behind_its_back_is_found(eventful, database_url, statement, says):
    database = open_database(database_url)
    with database.write() as connection:
        assert connection.execute(text(statement)).rowcount
    database.close()
    found = eventful.verify_audit()
    assert not found.whole and says in found.unrecorded, found
