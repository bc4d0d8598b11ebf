"""The same estimator gives the same bytes, in whatever process, and importing the converters loads no library."""

import hashlib
import os
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.pack.convert.proof import convert
from xgboost import XGBClassifier

_CHILD = """
import hashlib, sys, warnings
import joblib
warnings.simplefilter("ignore")
from tests.pack.convert.proof import convert
for estimator, x in joblib.load(sys.argv[1]):
    print(hashlib.sha256(convert(estimator, x)).hexdigest())
"""


@pytest.mark.filterwarnings("ignore")
def test_bytes_are_the_same_in_processes_with_other_hash_seeds(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"s": rng.choice(list("abc"), 200), "t": rng.choice(list("xy"), 200), "n": rng.random(200)})
    y = (table["n"] > 0.5).astype(int)
    columns = ColumnTransformer([("o", OneHotEncoder(), ["s", "t"]), ("n", StandardScaler(), ["n"])])
    x = table[["n"]].to_numpy()
    forest = RandomForestClassifier(5, random_state=0)
    models = [
        (make_pipeline(columns, LogisticRegression()).fit(table, y), table),
        (HistGradientBoostingClassifier(max_iter=5, categorical_features=[0, 1]).fit(table, y), table),
        (StackingClassifier([("f", forest), ("s", GaussianNB())]).fit(x, y), x),
        (RandomForestClassifier(5, random_state=0).fit(x, rng.integers(0, 3, 200)), x),
        (make_pipeline(KernelPCA(2), KNeighborsClassifier()).fit(np.c_[x, x * x], y), np.c_[x, x * x]),
        (XGBClassifier(n_estimators=5).fit(x, y), x),
        (LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y), x),
    ]
    path = tmp_path / "models.joblib"
    joblib.dump(models, path)
    here = [hashlib.sha256(convert(*model)).hexdigest() for model in models]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", _CHILD, str(path)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert out.split() == here


def test_importing_the_converters_loads_no_model_library():
    code = "import sys, penstock.pack.convert; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"sklearn", "xgboost", "lightgbm", "catboost", "skl2onnx"}
