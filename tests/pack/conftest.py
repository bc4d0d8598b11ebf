"""Models every test of packing may share; each is trained once."""

import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@pytest.fixture(scope="session")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="session")
def logistic(cancer):
    x, y = cancer
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y)


@pytest.fixture(scope="session")
def people():
    rows = 120
    return pd.DataFrame(
        {
            "age": [20 + number % 50 for number in range(rows)],
            "income": [1000.0 + 37.5 * (number % 31) for number in range(rows)],
            "city": [["Oslo", "Rome", "Bern"][number % 3] for number in range(rows)],
            "left": [["no", "yes"][(number % 7 > 3) ^ (number % 3 == 0)] for number in range(rows)],
        }
    )


@pytest.fixture(scope="session")
def churn(people):
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "income"]), ("city", OneHotEncoder(), ["city"])])
    return make_pipeline(columns, LogisticRegression()).fit(people.drop(columns="left"), people["left"])
