"""The demo's models and its client."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import penstock


def train(folder: Path) -> dict[str, float]:
    """Train four versions, save them with the rows they were trained on; returns their accuracy on held-out rows."""
    data = load_breast_cancer(as_frame=True)
    labels = data.target.map(dict(enumerate(map(str, data.target_names))))
    x, held_out_x, y, held_out_y = train_test_split(data.data, labels, random_state=0, stratify=labels)
    x.to_csv(folder / "rows.csv", index=False)
    held_out_x.assign(diagnosis=held_out_y).to_csv(folder / "held-out.csv", index=False)
    (folder / "row.json").write_text(json.dumps(held_out_x.iloc[0].to_dict()))
    versions = {
        "v1": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "v2": HistGradientBoostingClassifier(random_state=0),
        "v3": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "v4": DecisionTreeClassifier(max_depth=1, random_state=0),
    }
    accuracy = {}
    for name, model in versions.items():
        # The third makes the classic slip: trained on lengths in other units than callers send.
        model.fit(x * 1.6 if name == "v3" else x, y)
        joblib.dump(model, folder / f"{name}.joblib")
        accuracy[f"{name} ({type(model).__name__})"] = float(model.score(held_out_x, held_out_y))
    return accuracy


def outcomes_of(url: str, folder: Path) -> tuple[int, int]:
    """Predict every held-out row, then write what each patient turned out to have; (rows, calls)."""
    rows = pd.read_csv(folder / "held-out.csv")
    truth = rows.pop("diagnosis")
    lines = ["request_id,row,value"]
    with penstock.Client(url) as client:
        for start in range(0, len(rows), 10):
            part = rows.iloc[start : start + 10]
            answer = client.predict("tumour", part)
            lines += [f"{answer.id},{at},{truth.iloc[start + at]}" for at in range(len(part))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return len(rows), -(-len(rows) // 10)


def predict_with_client(url: str, row: dict[str, float]) -> str:
    """One prediction through the SDK."""
    with penstock.Client(url) as client:
        prediction = client.predict("tumour", [row])
    return f"{prediction.predictions} {prediction.probabilities} from version {prediction.version}"
