"""One real node that the examples of the reference are sent to."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.serving.nodes import RunningNode, document

import penstock
from penstock.bundle.bundle import open_bundle
from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint


@pytest.fixture(scope="session")
def churn(tmp_path_factory):
    """The bundle the reference talks about: two columns in, yes or no out."""
    folder = tmp_path_factory.mktemp("churn")
    random = np.random.default_rng(7)
    rows = pd.DataFrame(
        {"age": random.integers(18, 80, 200).astype(float), "city": random.choice(["Bern", "Oslo"], 200)}
    )
    labels = np.where(rows["age"] + 10 * (rows["city"] == "Oslo") > 55, "yes", "no")
    columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"]))
    model = make_pipeline(columns, LogisticRegression()).fit(rows, labels)
    packed = penstock.pack(model, rows, name="churn", out=folder / "churn.penstock")
    return open_bundle(packed.path, folder / "bundles")


@pytest.fixture(scope="session")
def node(churn, tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    arm = Arm(
        name="main", version="churn/7", bundle=churn.digest, uri=str(churn.directory), weight=TOTAL_WEIGHT
    )  # fmt: skip
    running.publish(document(1, churn=Endpoint(arms=(arm,))))
    running.start()
    yield running
    assert running.stop() == 0
