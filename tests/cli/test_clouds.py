"""Containers of SageMaker, Vertex AI and Azure ML: `penstock serve` with nothing but the platform's environment."""

import json
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.serving.bundles import python_bundle
from tests.serving.nodes import free_port, until

from penstock.cli.platforms import model_of, platform_of
from penstock.core.errors import InvalidInput, NotFound

X = {"instances": [[1.0, 2.0], [3.0, 4.0]]}
SLOW = """
import time
class Model:
    def predict(self, x):
        time.sleep(0.5)
        return x.sum(axis=1).astype("float64")
"""


class Container:
    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log

    def ask(self, path, body=None, kind="application/json"):
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"content-type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def healthy(self, path):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask(path)[0] == 200
        except OSError:
            return False


@pytest.fixture
def container(environ, tmp_path):
    """`container(environment, *arguments, port=…)`: what a platform runs, until its health route says yes."""

    @contextmanager
    def run(more, *arguments, port, health="/ping", processes="1"):
        log = tmp_path / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                ["penstock", "serve", *map(str, arguments), "--processes", processes],
                env={**environ, **more}, stderr=stderr, cwd=tmp_path,
            )  # fmt: skip
        running = Container(process, port, log)
        try:
            until(lambda: running.healthy(health), 90)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        assert code == 0, log.read_text()

    return run


@pytest.fixture
def mounted(tmp_path, bundles):
    """A folder `model` with one bundle in it, as each platform fills one."""
    folder = tmp_path / "ml" / "model"
    folder.mkdir(parents=True)
    shutil.copy(bundles / "sum.penstock", folder)
    return folder


def sums(answer):
    assert answer[0] == 200, answer
    found = json.loads(answer[1])
    return [round(value) for value in (found["predictions"] if isinstance(found, dict) else found)]


def test_sagemaker(container, mounted):
    port = free_port()
    environment = {"SAGEMAKER_BASE_DIR": str(mounted.parent), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with container(environment, port=port) as running:
        assert running.ask("/ping") == (200, b"")
        assert sums(running.ask("/invocations", X)) == [3, 7]
        assert sums(running.ask("/invocations", "1.5,2\n3,4\n", "text/csv")) == [4, 7]
        until(lambda: b"http://0.0.0.0:" in running.log.read_bytes())


def test_sagemaker_with_several_models(container, mounted):
    port = free_port()
    environment = {
        "SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_BASE_DIR": str(mounted),
    }  # fmt: skip
    with container(environment, port=port, processes="2") as running:
        assert json.loads(running.ask("/models")[1]) == {"models": []}
        assert running.ask("/models", {"model_name": "a1", "url": str(mounted)})[0] == 200
        # By whichever of the event loops.
        for _ in range(8):
            assert sums(running.ask("/models/a1/invoke", X)) == [3, 7]


def test_vertex(container, bundles):
    port = free_port()
    environment = {
        "AIP_HTTP_PORT": str(port), "AIP_HEALTH_ROUTE": "/alive",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/8:predict",
        "AIP_STORAGE_URI": "gs://bucket/model", "AIP_MODE": "PREDICTION",
    }  # fmt: skip
    with container(environment, bundles / "sum.penstock", port=port, health="/alive", processes="2") as running:
        for _ in range(8):
            assert sums(running.ask(environment["AIP_PREDICT_ROUTE"], X)) == [3, 7]
    # A route of his own that is another contract's stays that: rawPredict passes bodies through.
    environment |= {"AIP_PREDICT_ROUTE": "/v2/models/sum/infer", "AIP_HEALTH_ROUTE": "/v2/health/ready"}
    with container(environment, bundles / "sum.penstock", port=port, health="/v2/health/ready") as running:
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
        assert b'"model_name"' in running.ask("/v2/models/sum/infer", body)[1]


def test_vertex_with_a_model_that_is_mounted(container, mounted):
    port = free_port()
    environment = {"AIP_HTTP_PORT": str(port), "AIP_STORAGE_URI": str(mounted), "AIP_PREDICT_ROUTE": "/ask/"}
    with container(environment, port=port) as running:
        assert sums(running.ask("/ask", X)) == [3, 7]


def test_azure(container, mounted):
    port = free_port()
    split = {"columns": [0, 1], "index": [0], "data": [[1, 2]]}
    with container({"AZUREML_MODEL_DIR": str(mounted.parent)}, "--port", port, port=port) as running:
        assert sums(running.ask("/score", {"input_data": split})) == [3]
        assert running.ask("/")[0] == 200


def test_sigterm_drains_within_the_time_that_sagemaker_gives(container, tmp_path):
    python_bundle(tmp_path / "ml" / "model", SLOW)
    port = free_port()
    # Not pytest's folder: its names are too long for the sockets of model processes.
    with ThreadPoolExecutor(4) as pool, tempfile.TemporaryDirectory(prefix="penstock-") as home:
        environment = {
            "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "SAGEMAKER_BIND_TO_PORT": str(port), "PENSTOCK_HOME": home,
        }  # fmt: skip
        with container(environment, port=port) as running:
            calls = [pool.submit(running.ask, "/invocations", {"inputs": [[1, 2, 3, 4]]}) for _ in range(4)]
            until(lambda: any(call.done() for call in calls))
            began = time.monotonic()
        # The contract's own limit, after which the container is killed.
        assert time.monotonic() - began < 30
        assert [sums(call.result()) for call in calls] == [[10]] * 4


def test_what_is_no_platform(run, mounted, environ):
    run("serve", code=2)
    environ["AIP_HTTP_PORT"] = "8o"
    assert run("serve", mounted, code=1).stderr.endswith("[invalid-platform]\n")
    environ["AIP_HTTP_PORT"] = "8080"
    environ["AIP_STORAGE_URI"] = "gs://bucket/model"
    assert run("serve", code=1).stderr.endswith("[no-model]\n")
    environ["AIP_STORAGE_URI"] = str(mounted / "empty")
    assert run("serve", code=1).stderr.endswith("[unknown-bundle]\n")
    # An address that is asked for is still a matter of keys.
    environ["AIP_STORAGE_URI"] = str(mounted)
    assert run("serve", "--host", "0.0.0.0", code=1).stderr.endswith("[insecure-address]\n")


def test_what_people_have_on_their_own_machines_is_no_platform(mounted):
    mine = {
        "SAGEMAKER_ROLE": "arn",
        "AWS_REGION": "eu",
        "AZUREML_RUN_ID": "1",
        "AIP_MODE": "",
        "SAGEMAKER_BASE_DIR": "",
    }
    assert platform_of(mine, named=True) is None
    # Training has the folder, too.
    base = {"SAGEMAKER_BASE_DIR": str(mounted.parent)}
    assert platform_of(base, named=True) is None
    assert platform_of(base).model == mounted


def test_the_bundle_in_a_folder(mounted, bundles, tmp_path):
    def found(folder):
        return model_of(platform_of({"AZUREML_MODEL_DIR": str(folder)}))

    assert found(mounted) == found(mounted.parent) == found(mounted / "sum.penstock") == mounted / "sum.penstock"
    shutil.copy(bundles / "half.penstock", mounted)
    with pytest.raises(InvalidInput, match="several-bundles"):
        found(mounted)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="unknown-bundle"):
        found(tmp_path / "empty")
    unpacked = Path(tmp_path, "a", "b", "bundle")
    unpacked.mkdir(parents=True)
    (unpacked / "manifest.json").touch()
    assert found(tmp_path / "a") == unpacked


@pytest.mark.parametrize(
    "environment", [{"AIP_HTTP_PORT": "0"}, {"AIP_HTTP_PORT": "70000"}, {"AIP_HTTP_PORT": "1", "AIP_HEALTH_ROUTE": "x"}]
)
def test_wrong_variables(environment):
    with pytest.raises(InvalidInput, match="invalid-platform"):
        platform_of(environment)


@pytest.mark.parametrize("name", ["AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"])
def test_the_route_that_is_no_path_is_named(name):
    routes = {"AIP_HTTP_PORT": "1", "AIP_HEALTH_ROUTE": "/h", "AIP_PREDICT_ROUTE": "/p", name: "noslash"}
    with pytest.raises(InvalidInput) as refusal:
        platform_of(routes)
    (other,) = {"AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"} - {name}
    assert name in str(refusal.value)
    assert other not in f"{refusal.value} {refusal.value.hint}"


def test_a_model_in_a_bucket_is_not_fetched():
    with pytest.raises(NotFound, match="no-model") as refusal:
        model_of(platform_of({"AIP_HTTP_PORT": "1", "AIP_STORAGE_URI": "gs://b/x"}))
    assert "AIP_STORAGE_URI is 'gs://b/x'" in str(refusal.value)
    assert "not fetched" in str(refusal.value)
    assert "put the bundle into the image" in refusal.value.hint
