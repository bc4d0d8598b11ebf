"""Microseconds a call, original and graph, at 1 and 64 rows: `python -m tests.pack.convert.speed` prints a table."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.pack.convert.proof import check, feeds, session_of
from xgboost import XGBClassifier

ROWS = 3000


def best_us(call: Callable[[], Any], least_s: float = 0.3) -> float:
    """The fastest of many calls: what else the machine does can only make a call slower."""
    best, until = np.inf, time.perf_counter() + least_s
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best * 1e6


def models() -> dict[str, tuple[Any, Any, float]]:
    """Fitted models, with rows and how near their graphs must be."""
    x, y = make_classification(ROWS, 30, n_informative=12, random_state=0)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.choice([f"{name}{i}" for i in range(12)], ROWS) for name in "abc"})
    for i in range(5):
        table[f"n{i}"] = x[:, i]
    boosted = table.assign(**{name: table[name].astype("category") for name in "abc"})
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("s", encoder, list("abc")), ("n", StandardScaler(), [f"n{i}" for i in range(5)])])
    return {
        "logistic pipeline, 30 features": (make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), x, 1e-12),
        "forest, 100 trees, 30 features": (RandomForestClassifier(100, random_state=0).fit(x, y), x, 1e-12),
        "HistGradientBoosting, 100 iterations": (HistGradientBoostingClassifier().fit(x, y), x, 1e-12),
        "HistGradientBoosting, 3 category and 5 numeric columns": (
            HistGradientBoostingClassifier(categorical_features="from_dtype").fit(boosted, y),
            boosted,
            1e-12,
        ),
        "ColumnTransformer, 3 text and 5 numeric columns, logistic": (
            make_pipeline(columns, LogisticRegression()).fit(table, y),
            table,
            1e-12,
        ),
        "XGBoost, 100 trees": (XGBClassifier(n_estimators=100, n_jobs=1).fit(x, y), x, 1e-5),
        "LightGBM, 100 trees": (LGBMClassifier(n_jobs=1, verbose=-1).fit(x, y), x, 1e-12),
        "CatBoost, 100 trees": (
            CatBoostClassifier(iterations=100, thread_count=1, verbose=0, allow_writing_files=False).fit(x, y),
            x,
            1e-12,
        ),
    }


def row(name: str, estimator: Any, x: Any, within: float) -> str:
    """One line of the table."""
    run = session_of(check(estimator, x, within=within))._sess.run
    figures = []
    for rows in (1, 64):
        some = x[:rows]
        fed = feeds(some)
        figures += [
            best_us(lambda some=some: estimator.predict_proba(some)),
            best_us(lambda fed=fed: run(["predictions", "probabilities"], fed, None)),
        ]
    cells = " | ".join(
        f"{before:.0f} | {after:.1f} | {before / after:.0f}"
        for before, after in zip(figures[::2], figures[1::2], strict=True)
    )
    return f"| {name} | {cells} |"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("| model | original, 1 row | ONNX, 1 row | times | original, 64 rows | ONNX, 64 rows | times |")
    print("|---|---|---|---|---|---|---|")
    for name, (estimator, x, within) in models().items():
        print(row(name, estimator, x, within), flush=True)
