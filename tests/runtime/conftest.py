"""Small real bundles, sealed as packing seals them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops_io

from penstock.bundle.bundle import seal
from penstock.bundle.manifest import Artifact, Batching, Evidence, Golden, Manifest
from penstock.core.signature import Field, Signature
from penstock.runtime import golden
from penstock.runtime.environment import lock_current

ROWS = np.random.default_rng(3).normal(size=(16, 4)).astype(np.float32)
VALUES = Signature(
    inputs=(Field(name="x", datatype="FP32", shape=(-1, 4)),),
    outputs=(Field(name="predictions", datatype="FP64", shape=(-1,)),),
    layout="matrix",
)
LABELS = Signature(
    inputs=VALUES.inputs,
    outputs=(
        Field(name="predictions", datatype="INT64", shape=(-1,)),
        Field(name="probabilities", datatype="FP64", shape=(-1, 2)),
    ),
    layout="matrix",
    classes=(0, 1),
)


def make_bundle(directory, artifact, signature, outputs, *, inputs=None, environment=None, **rules):
    """Seal `directory`, which already holds the model's files, with golden rows that have these outputs."""
    inputs = {"x": ROWS} if inputs is None else inputs
    golden.write(directory / "golden.bin", [golden.GoldenCall(inputs, outputs)])
    if environment is None:
        requirements, environment = lock_current(["numpy"])
        (directory / "requirements.txt").write_text(requirements)
    draft = Manifest(
        format=1, name="model", kind="python", signature=signature, files={}, original=artifact, served=artifact,
        builtin_operators=False, evidence=Evidence(converted=False, reason="served as it is"),
        batching=Batching(allowed=rules.pop("batched", True), reason="rows agree"),
        golden=Golden(path="golden.bin", rows=len(ROWS), **{"deterministic": True, **rules}), environment=environment,
    )  # fmt: skip
    return seal(directory, draft)


def python_bundle(directory, source, *, expected=None, entry="Model", **rules):
    """A bundle of a Python class; without `expected` its golden rows expect the sum of each row."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.py").write_text(source)
    artifact = Artifact(path="model.py", runtime="python", serialization="source", entry=entry)
    outputs = {"predictions": ROWS.sum(axis=1).astype(np.float64) if expected is None else expected}
    return make_bundle(directory, artifact, VALUES, outputs, **rules)


@pytest.fixture(scope="session")
def logistic(tmp_path_factory):
    """A scikit-learn pipeline stored as skops: (bundle, estimator)."""
    directory = tmp_path_factory.mktemp("logistic")
    x = np.random.default_rng(5).normal(size=(400, 4)).astype(np.float32)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (x[:, 0] > 0).astype(np.int64))
    skops_io.dump(estimator, directory / "model.skops")
    artifact = Artifact(path="model.skops", runtime="sklearn", serialization="skops")
    outputs = {
        "predictions": estimator.predict(ROWS),
        "probabilities": estimator.predict_proba(ROWS).astype(np.float64),
    }
    return make_bundle(directory, artifact, LABELS, outputs), estimator
