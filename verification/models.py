"""The models that checks serve, packed from data that comes with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SLOW = '''"""A model that costs a fixed time a row."""

import time

import numpy as np


class Slow:
    """Keeps the processor busy for 5 ms a row: a model that sleeps would cost nobody anything."""

    def predict(self, x):
        end = time.thread_time() + 0.005 * len(x)
        while time.thread_time() < end:
            pass
        return np.asarray(x)[:, 0].astype("float64")
'''

MEAN = '''"""The mean of each row."""


class Mean:
    def predict(self, x):
        return x.mean(axis=1)
'''


def logistic(folder: Path, version: int) -> dict[str, Any]:
    """The arm of version 1 or 2 of the benchmark's pipeline: StandardScaler and LogisticRegression on 30 features."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import penstock

    data = load_breast_cancer()
    # Versions differ in their coefficients, so that they are two bundles.
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=1.0 / version))
    packed = penstock.pack(model.fit(data.data, data.target), data.data, name="m", out=folder / f"v{version}.penstock")
    return _arm(packed, version)


def slow(folder: Path) -> dict[str, Any]:
    """The arm of a Python class that costs 5 ms a row, in a worker process."""
    import numpy as np

    import penstock

    source = folder / "slow.py"
    source.write_text(SLOW)
    sample = np.arange(64, dtype=np.float32).reshape(-1, 4)
    return _arm(penstock.pack(f"{source}:Slow", sample, name="slow", out=folder / "slow.penstock"), 1)


def mean(folder: Path) -> dict[str, Any]:
    """The arm of a Python class that takes what the pipeline takes, in a worker process."""
    from sklearn.datasets import load_breast_cancer

    import penstock

    source = folder / "mean.py"
    source.write_text(MEAN)
    return _arm(
        penstock.pack(f"{source}:Mean", load_breast_cancer().data, name="mean", out=folder / "mean.penstock"), 3
    )


def _arm(packed: Any, version: int) -> dict[str, Any]:
    return {
        "name": "main", "version": f"m/{version}", "bundle": packed.digest, "uri": str(packed.path.resolve()),
        "weight": 10_000,
    }  # fmt: skip


def logistic_bodies() -> list[bytes]:
    """Single-row requests to the logistic pipeline, as the benchmark sends them."""
    from sklearn.datasets import load_breast_cancer

    rows = load_breast_cancer().data[:16].tolist()
    return [infer_body("FP64", row) for row in rows]


def infer_body(datatype: str, row: list[float]) -> bytes:
    """One row as a request of the Open Inference Protocol."""
    tensor = {"name": "x", "shape": [1, len(row)], "datatype": datatype, "data": row}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
