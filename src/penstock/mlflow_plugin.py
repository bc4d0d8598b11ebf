"""MLflow's deployments plugin: `mlflow deployments create -t penstock --name churn -m models:/churn@champion`.

MLflow finds it by the entry point group `mlflow.deployments`; the interface is that of
https://mlflow.org/docs/latest/plugins.html. It asks a running control, as the command line does, and needs no server
of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from penstock.cli.desk import Server, open_remote
from penstock.cli.options import Place
from penstock.cli.remote import Remote
from penstock.control.deploy import with_version
from penstock.control.records import Operation
from penstock.control.spec import Spec
from penstock.core.clock import monotonic
from penstock.core.errors import PenstockError
from penstock.pack import pack
from penstock.sdk.client import Client

_DEFAULT = "http://127.0.0.1:8700"
_WAIT_S = 120.0
_REASON = "mlflow deployments"
# What `-C name=value` may say besides these goes to nobody, so it is refused.
_CONFIG = ("allow_pickle", "sample", "target", "wait_s", "port")
_CODES = {
    "invalid": codes.INVALID_PARAMETER_VALUE,
    "unsupported": codes.INVALID_PARAMETER_VALUE,
    "not-found": codes.RESOURCE_DOES_NOT_EXIST,
    "conflict": codes.RESOURCE_CONFLICT,
    "refused": codes.PERMISSION_DENIED,
    "forbidden": codes.PERMISSION_DENIED,
    "unauthenticated": codes.UNAUTHENTICATED,
    "unavailable": codes.TEMPORARILY_UNAVAILABLE,
    "overloaded": codes.TEMPORARILY_UNAVAILABLE,
}


def target_help() -> str:
    """What `mlflow deployments help -t penstock` prints."""
    return (
        "penstock                    the control at $PENSTOCK_SERVER, else http://127.0.0.1:8700 (`penstock up`)\n"
        "penstock:/http://HOST:PORT  the control at this address\n"
        "The key is $PENSTOCK_KEY, else admin.key in $PENSTOCK_HOME.\n\n"
        "A deployment is an endpoint. Its model is packed here, registered under the same name, checked by its\n"
        "gates, and served by every node that follows the control. Config (-C name=value):\n"
        "  allow_pickle  why the model's pickle may be opened (MLflow saves scikit-learn as one)\n"
        "  sample        a CSV, Parquet or NPZ file with rows, where the model has no input example\n"
        "  target        the column of the sample that is the label\n"
        "  wait_s        how long to wait for the nodes (default 120)\n"
        "  port          of run-local (default 8080)\n"
    )


# MLflow's documentation has the target first; what calls this, in 3.17, does not pass it.
def run_local(name: str, model_uri: str, flavor: str | None = None, config: dict[str, Any] | None = None) -> None:
    """Pack the model and serve it here by `penstock serve`, until that is ended."""
    with _as_mlflow(), tempfile.TemporaryDirectory(prefix="penstock-mlflow-") as folder:
        bundle = _packed(name, model_uri, flavor, _checked(config), Path(folder))
        port = str((config or {}).get("port", 8080))
        command = [sys.executable, "-m", "penstock", "serve", str(bundle), "--name", name, "--port", port]
        allowed = ["--allow-pickle"] if (config or {}).get("allow_pickle") else []
        code = subprocess.run([*command, *allowed], check=False).returncode
    if code not in (0, 130):
        raise MlflowException(f"penstock serve ended with exit status {code}", codes.INTERNAL_ERROR)


class PenstockDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]
    """Deployments as endpoints of one control."""

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        address = target_uri.removeprefix("penstock").removeprefix(":").strip("/")
        if address and not urlsplit(address).netloc:
            raise MlflowException(f"{target_uri!r} names no control: penstock:/http://HOST:PORT",
                                  codes.INVALID_PARAMETER_VALUE)  # fmt: skip
        self._server = Server(server=address or os.environ.get("PENSTOCK_SERVER", "") or _DEFAULT)

    def create_deployment(
        self, name: str, model_uri: str, flavor: str | None = None, config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Pack, register, check and serve; raises MlflowException, also where the name is taken."""
        with self._control(endpoint) as control:
            if name in _endpoints(control.spec()):
                raise MlflowException(f"there is a deployment {name!r} already", codes.RESOURCE_ALREADY_EXISTS)
            return self._deploy(control, name, model_uri, flavor, config)

    def update_deployment(
        self, name: str, model_uri: str | None = None, flavor: str | None = None,
        config: dict[str, Any] | None = None, endpoint: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Let another model take over, as the endpoint's rollout says; raises MlflowException."""
        with self._control(endpoint) as control:
            _existing(control.spec(), name)
            if model_uri is None:
                raise MlflowException("there is nothing to update: give --model-uri", codes.INVALID_PARAMETER_VALUE)
            return self._deploy(control, name, model_uri, flavor, config)

    def delete_deployment(self, name: str, config: dict[str, Any] | None = None, endpoint: str | None = None) -> None:
        """Take the endpoint away; nothing happens where there is none. Registered versions stay."""
        with self._control(endpoint) as control:
            spec = control.spec()
            if spec is not None and name in spec.endpoints:
                rest = {other: about for other, about in spec.endpoints.items() if other != name}
                self._apply(control, lambda found: msgspec.structs.replace(found or spec, endpoints=rest), config)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Every endpoint."""
        with self._control(endpoint) as control:
            return [_described(control.spec(), name) for name in _endpoints(control.spec())]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """One endpoint; raises MlflowException where there is none."""
        with self._control(endpoint) as control:
            spec = control.spec()
            _existing(spec, name)
            nodes = [node.address for node in control.status().nodes if node.ready and not node.away]
            return {**_described(spec, name), "nodes": nodes}

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Ask a node; an answer without `predictions` has all outputs as columns there."""
        with self._control(endpoint) as control:
            name = deployment_name or ""
            _existing(control.spec(), name)
            nodes = [node.address for node in control.status().nodes if node.ready and not node.away]
            if not nodes:
                raise MlflowException("no node is there to answer", codes.TEMPORARILY_UNAVAILABLE)
            with Client(nodes[0], key=self._server.key or None) as client:
                answer = client.predict(name, _rows(inputs))
        outputs = {key: _plain(values) for key, values in answer.outputs.items()}
        if answer.predictions is None:
            return PredictionsResponse({"predictions": outputs})
        known = {"predictions": _plain(answer.predictions), **outputs}
        if answer.probabilities is not None:
            known |= {"probabilities": _plain(answer.probabilities), "classes": list(answer.classes or ())}
        return PredictionsResponse(known)

    def _deploy(
        self, control: Remote, name: str, model_uri: str, flavor: str | None, config: dict[str, Any] | None
    ) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="penstock-mlflow-") as folder:
            archive = _packed(name, model_uri, flavor, _checked(config), Path(folder))
            version = control.register(name, archive, _REASON)
        ref = f"{name}/{version.number}"
        self._apply(control, lambda spec: with_version(spec, name, ref), config)
        return {"name": name, "flavor": flavor, "version": ref, "digest": version.digest}

    def _apply(self, control: Remote, change: Callable[[Spec | None], Spec], config: dict[str, Any] | None) -> None:
        """Apply a change of the spec, and wait until the nodes serve what came of it."""
        status = control.status()
        before = status.generation.generation if status.generation is not None else 0
        done = control.apply_spec(change(control.spec()), expected_generation=before, reason=_REASON)
        if done.error is not None:
            raise done.error.error()
        if done.state == "waiting-approval":
            raise MlflowException(f"operation {done.id} waits for an approval: see `penstock status`",
                                  codes.PERMISSION_DENIED)  # fmt: skip
        self._wait(control, done, float((config or {}).get("wait_s", _WAIT_S)))

    def _wait(self, control: Remote, done: Operation, wait_s: float) -> None:
        status = control.status()
        generation = status.generation.generation if status.generation is not None else 0
        until = monotonic() + wait_s
        while True:
            found = control.wait_converged(generation, max(until - monotonic(), 0))
            if found.refused:
                why = "; ".join(
                    f"{node}: {reason}" for node, said in found.problems.items() for reason in said.values()
                )
                raise MlflowException(f"a node cannot serve it: {why}", codes.INVALID_STATE)
            if found.done:
                return
            if monotonic() > until:
                raise MlflowException(f"operation {done.id} is done, but not every node serves it after {wait_s:g} s",
                                      codes.TEMPORARILY_UNAVAILABLE)  # fmt: skip

    @contextmanager
    def _control(self, endpoint: str | None) -> Iterator[Remote]:
        if endpoint is not None:
            raise MlflowException("a deployment of Penstock is an endpoint itself: leave --endpoint out",
                                  codes.INVALID_PARAMETER_VALUE)  # fmt: skip
        with _as_mlflow():
            control = open_remote(Place(), self._server)
            try:
                yield control
            finally:
                control.close()


def _packed(name: str, model_uri: str, flavor: str | None, config: dict[str, Any], folder: Path) -> Path:
    choices = {key: config[key] for key in ("allow_pickle", "target") if key in config}
    out = folder / f"{name}.penstock"
    return pack(model_uri, config.get("sample"), name=name, out=out, flavor=flavor or "", **choices).path


def _checked(config: dict[str, Any] | None) -> dict[str, Any]:
    if unknown := sorted(set(config or {}) - set(_CONFIG)):
        raise MlflowException(f"unknown config {unknown[0]!r}; there are {', '.join(_CONFIG)}",
                              codes.INVALID_PARAMETER_VALUE)  # fmt: skip
    return config or {}


def _endpoints(spec: Spec | None) -> list[str]:
    return sorted(spec.endpoints) if spec is not None else []


def _existing(spec: Spec | None, name: str) -> None:
    if name not in _endpoints(spec):
        raise MlflowException(f"there is no deployment {name!r}", codes.RESOURCE_DOES_NOT_EXIST)


def _described(spec: Spec | None, name: str) -> dict[str, Any]:
    about = msgspec.to_builtins(spec.endpoints[name]) if spec is not None else {}
    return {"name": name, **{key: about[key] for key in ("model", "arms") if key in about}}


def _rows(inputs: Any) -> Any:
    """What the client takes, also where it is given as the body that MLflow's scoring server would get."""
    if not isinstance(inputs, dict) or len(inputs) != 1:
        return inputs
    ((form, data),) = inputs.items()
    if form == "dataframe_split":
        return [dict(zip(data["columns"], row, strict=True)) for row in data["data"]]
    if form not in ("dataframe_records", "instances", "inputs"):
        return inputs
    if isinstance(data, dict):
        return {name: np.asarray(values) for name, values in data.items()}
    return data if data and isinstance(data[0], dict) else np.asarray(data)


def _plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


@contextmanager
def _as_mlflow() -> Iterator[None]:
    """Every failure of ours as MLflow's own."""
    try:
        yield
    except PenstockError as error:
        raise MlflowException(str(error), _CODES.get(error.kind, codes.INTERNAL_ERROR)) from error
