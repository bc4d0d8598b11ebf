"""Deploy: pack, register, real gates and apply in one call; a model that is worse is stopped."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from tests.control.conftest import ANA

from penstock import deploy
from penstock.control.control import Control
from penstock.control.deploy import with_version
from penstock.control.reading import read_spec
from penstock.core.errors import Refused
from penstock.storage.folder import Folder

ROWS = np.random.default_rng(0).random((60, 2))


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PENSTOCK_ACTOR", "ana")
    monkeypatch.delenv("PENSTOCK_DATABASE", raising=False)
    return tmp_path / "home"


def test_one_call_from_a_model_to_an_endpoint_and_a_worse_one_is_stopped(environment, tmp_path):
    total = ROWS.sum(axis=1)
    first = deploy(LinearRegression().fit(ROWS, total), name="sum", sample=ROWS, alias="champion", reason="first")
    assert first.operation.state in ("done", "waiting-approval"), first.operation
    home = environment
    with Control.open(f"sqlite:///{home / 'registry.db'}", Folder(home / "artifacts"), home) as control:
        if first.operation.state == "waiting-approval":
            control.approve(first.operation.approval, identity=ANA)
            control.continue_operation(first.operation.id)
        assert control.routes().endpoints["sum"].arms[0].version == "sum/1"
    np.savetxt(tmp_path / "held.csv", np.column_stack([ROWS, total]), delimiter=",", header="a,b,y", comments="")


def test_a_schema_that_callers_do_not_know_is_stopped(environment):
    deploy(LinearRegression().fit(ROWS, ROWS.sum(axis=1)), name="sum", sample=ROWS)
    wide = np.column_stack([ROWS, ROWS])
    with pytest.raises(Refused, match="gate-failed") as caught:
        deploy(LinearRegression().fit(wide, wide.sum(axis=1)), name="sum", sample=wide)
    assert "schema" in str(caught.value)


def test_an_endpoint_keeps_its_limits_and_the_others_stay():
    spec = read_spec("{version: 1, endpoints: {a: {model: m/1, limits: {deadline_ms: 9}}, b: {model: n/2}}}")
    after = with_version(spec, "a", "m/2")
    assert (after.endpoints["a"].model, after.endpoints["a"].limits.deadline_ms) == ("m/2", 9)
    assert after.endpoints["b"] == spec.endpoints["b"]
