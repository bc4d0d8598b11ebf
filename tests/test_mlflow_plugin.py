"""The real `mlflow deployments` client and command, against a real control and its node."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from tests.api.conftest import Up, free_port, until

pytest.importorskip("mlflow")

import mlflow
from mlflow.deployments import get_deploy_client
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20) % 3})
LABELS = (ROWS["a"] > 9).astype(int)
CONFIG = {"allow_pickle": "ours"}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    one = Up(tmp_path_factory.mktemp("h"))
    one.start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A tracking store with `models:/churn/1`, `/2` and the alias `champion`."""
    folder = tmp_path_factory.mktemp("tracking")
    address = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(address)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", artifact_location=(folder / "runs").as_uri()))
    for labels in (LABELS, 1 - LABELS):
        model = LogisticRegression().fit(ROWS, labels)
        with mlflow.start_run():
            mlflow.sklearn.log_model(
                model, name="model", input_example=ROWS, registered_model_name="churn",
                signature=mlflow.models.infer_signature(ROWS, labels), serialization_format="cloudpickle",
            )  # fmt: skip
    mlflow.MlflowClient().set_registered_model_alias("churn", "champion", 1)
    return address


@pytest.fixture
def client(up, registry, monkeypatch):
    monkeypatch.setenv("PENSTOCK_KEY", up.api.key)
    monkeypatch.setenv("PENSTOCK_HOME", str(up.home))
    return get_deploy_client(f"penstock:/http://127.0.0.1:{up.port}")


def test_the_life_of_a_deployment(client):
    # Given nothing of this name, when it is created
    made = client.create_deployment("churn", "models:/churn@champion", config=CONFIG)
    # Then it answers at once, and is listed
    assert (made["name"], made["version"]) == ("churn", "churn/1")
    answer = client.predict("churn", ROWS)
    assert answer.get_predictions("ndarray").tolist() == LABELS.tolist()
    split = {"dataframe_split": ROWS.to_dict("split")}
    records = {"dataframe_records": ROWS.to_dict("records")}
    columns = {"inputs": ROWS.to_dict("list")}
    for form in (split, records, columns, ROWS.to_dict("records")):
        assert client.predict("churn", form)["predictions"] == LABELS.tolist()
    assert [one["name"] for one in client.list_deployments()] == ["churn"]
    assert client.get_deployment("churn")["model"] == "churn/1"
    # When another takes its name, it is refused
    with pytest.raises(MlflowException) as taken:
        client.create_deployment("churn", "models:/churn/2", config=CONFIG)
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    # When it is updated, the other model answers
    assert client.update_deployment("churn", "models:/churn/2", config=CONFIG)["version"] == "churn/2"
    assert client.predict("churn", ROWS).get_predictions("ndarray").tolist() == (1 - LABELS).tolist()
    # When it is deleted, twice, it is gone
    client.delete_deployment("churn")
    client.delete_deployment("churn")
    assert client.list_deployments() == []
    for gone in (client.get_deployment, lambda name: client.predict(name, ROWS)):
        with pytest.raises(MlflowException) as missing:
            gone("churn")
        assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("name", "uri", "config", "code"),
    [
        ("pickle", "models:/churn/1", {}, "PERMISSION_DENIED"),
        ("nobody", "models:/nobody/1", CONFIG, "RESOURCE_DOES_NOT_EXIST"),
        ("../x", "models:/churn/1", CONFIG, "INVALID_PARAMETER_VALUE"),
        ("words", "models:/churn/1", {"alow_pickle": "x"}, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_failures_are_mlflow_exceptions(client, name, uri, config, code):
    with pytest.raises(MlflowException) as failed:
        client.create_deployment(name, uri, config=config)
    assert failed.value.error_code == code
    assert client.list_deployments() == []


def test_a_target_without_a_control(registry, monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_KEY", "k")
    with pytest.raises(MlflowException, match="control-unavailable"):
        get_deploy_client(f"penstock:/http://127.0.0.1:{free_port()}").list_deployments()
    with pytest.raises(MlflowException, match="names no control"):
        get_deploy_client("penstock:/nonsense")


def _mlflow(registry, up, *words):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry, "PENSTOCK_KEY": up.api.key}
    return [sys.executable, "-m", "mlflow", "deployments", *words], environment


def test_the_command(up, registry, tmp_path):
    target = f"penstock:/http://127.0.0.1:{up.port}"
    rows = tmp_path / "rows.json"
    rows.write_text(ROWS.to_json(orient="records"))
    create = ["create", "-t", target, "--name", "shown", "-m", "models:/churn@champion", "-C", "allow_pickle=ours"]
    for words, said in (
        (create, "shown"),
        (["predict", "-t", target, "--name", "shown", "-I", rows], "predictions"),
        (["delete", "-t", target, "--name", "shown"], "deleted"),
        (["help", "-t", "penstock"], "allow_pickle"),
    ):
        command, environment = _mlflow(registry, up, *map(str, words))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and said in done.stdout, (done.stdout, done.stderr)


def test_run_local_serves_here(up, registry, tmp_path):
    port = free_port()
    words = ["run-local", "-t", "penstock", "--name", "here", "-m", "models:/churn/1", "-C", "allow_pickle=ours", "-C",
             f"port={port}"]  # fmt: skip
    command, environment = _mlflow(registry, up, *words)
    environment["PENSTOCK_HOME"] = str(tmp_path / "home")
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)

    def ready():
        assert process.poll() is None
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/here/ready").status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        until(ready, 60, "a node")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
