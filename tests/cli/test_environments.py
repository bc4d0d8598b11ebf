"""Registering a version leaves its environment built, or says why it cannot be had."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import penstock
from penstock.bundle.bundle import Bundle, open_bundle
from penstock.cli.environments import ensure_environment
from penstock.core.digest import digest_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("environment")
    rows = np.random.default_rng(0).random((40, 2))
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    packed = penstock.pack(model, rows, name="sum", out=folder / "sum.penstock", convert=False)
    return open_bundle(packed.path, folder / "bundles")


def with_lock(bundle: Bundle, folder: Path, requirements: str) -> Bundle:
    """The bundle as if it had been packed where `requirements` were installed."""
    environment = bundle.manifest.environment
    (folder / environment.requirements).write_text(requirements)
    identity = digest_of(b"another")
    manifest = msgspec.structs.replace(
        bundle.manifest, environment=msgspec.structs.replace(environment, identity=identity)
    )
    return Bundle(folder, manifest, bundle.digest)


def test_nothing_is_built_where_this_python_has_everything(bundle, tmp_path):
    said = []
    assert ensure_environment(bundle, tmp_path, said.append) == ""
    assert said == []
    assert not (tmp_path / "envs").exists()


def test_the_reason_is_told_when_the_environment_cannot_be_had(bundle, tmp_path):
    said = []
    reason = ensure_environment(with_lock(bundle, tmp_path, "numpy==0.0.1\n"), tmp_path, said.append)
    assert "[damaged-environment]" in reason
