"""Real candidates: one that is good, one that was trained on other units, one that learned nothing more or less."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import penstock
from penstock.bundle.bundle import open_bundle
from penstock.gates.candidate import open_candidate

CITIES = ["Bern", "Oslo", "Rome"]


def people(rows, seed):
    """Customers and whether they left, which depends on income, age and city."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows)
    income = rng.normal(3000.0, 800.0, rows)
    city = rng.choice(CITIES, rows)
    leaves = (income - 3000) / 800 + (age - 49) / 18 + (city == "Oslo") + rng.normal(0, 0.7, rows)
    left = np.where(leaves > 0.3, "yes", "no")
    return pd.DataFrame({"age": age, "income": income, "city": city, "left": left})


def model(scaled=True):
    """A pipeline; `scaled=False` leaves out the scaling, so that it hears of hardly anything but the income."""
    numbers = StandardScaler() if scaled else "passthrough"
    columns = ColumnTransformer(
        [("numbers", numbers, ["age", "income"]), ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=2000))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="session")
def train():
    return people(1500, seed=1)


@pytest.fixture(scope="session")
def pack(folder):
    """Packs an estimator and opens the bundle."""

    def packed(estimator, rows, name, **choices):
        made = penstock.pack(estimator, rows, name=name, out=folder / f"{name}.penstock", **choices)
        return open_bundle(made.path, folder / "cache")

    return packed


@pytest.fixture(scope="session")
def champion(pack, train):
    x, y = train.drop(columns="left"), train["left"]
    return pack(model().fit(x, y), x, "champion")


@pytest.fixture(scope="session")
def equal(pack):
    """As good as the champion, from other rows."""
    rows = people(1500, seed=2)
    x = rows.drop(columns="left")
    return pack(model().fit(x, rows["left"]), x, "equal")


@pytest.fixture(scope="session")
def unscaled(pack, train):
    """Subtly bad: trained on incomes in thousands, and asked for incomes."""
    x, y = train.drop(columns="left"), train["left"]
    wrong = x.assign(income=x["income"] / 1000)
    return pack(model().fit(wrong, y), wrong, "unscaled")


@pytest.fixture(scope="session")
def held_out(folder):
    """Writes held-out rows of another seed as CSV, and gives the path."""

    def written(rows, name="held_out"):
        path = folder / f"{name}-{rows}.csv"
        people(rows, seed=99).to_csv(path, index=False)
        return str(path)

    return written


@pytest.fixture
def candidate(tmp_path):
    """Opens candidates; their processes end with the test."""
    opened = []

    def enter(bundle, **choices):
        context = open_candidate(bundle, tmp_path / "home", **choices)
        opened.append(context)
        return context.__enter__()

    yield enter
    for context in reversed(opened):
        context.__exit__(None, None, None)


PYTHON_MODEL = """
class Model:
    def predict(self, x):
        {body}
"""


@pytest.fixture(scope="session")
def python_bundle(pack, folder):
    """A bundle of a Python class whose `predict` has this body; packed on rows of zeros to ones."""

    def packed(body, name):
        source = folder / f"{name}.py"
        source.write_text(PYTHON_MODEL.format(body=body))
        rows = np.random.default_rng(0).random((40, 2))
        return pack(f"{source}:Model", rows, name)

    return packed
