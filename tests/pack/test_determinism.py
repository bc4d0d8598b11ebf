"""The same inputs give the same digest: in another process, with another hash seed, from another folder."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from skops import io as skops_io

from penstock.pack import pack
from penstock.pack.skops_file import dump_skops

_PACK = """
import sys, joblib, pandas as pd
from penstock.pack import pack
model, sample, out = sys.argv[1:]
print(pack(joblib.load(model), pd.read_csv(sample), name="m", target="left", out=out).digest)
print(pack(model, sample, name="m", target="left", out=out + "2", allow_pickle="ours").digest)
"""


def _digests(folder, seed, *arguments):
    folder.mkdir()
    # Outside of any git repository, whose commit is part of what a bundle says.
    environment = {**os.environ, "PYTHONHASHSEED": seed, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PACK, *map(str, arguments), str(folder / "out")],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_two_processes_give_one_digest(churn, people, tmp_path):
    joblib.dump(churn, tmp_path / "m.joblib")
    people.to_csv(tmp_path / "people.csv", index=False)
    inputs = (tmp_path / "m.joblib", tmp_path / "people.csv")
    first, second = (_digests(tmp_path / f"run{seed}", seed, *inputs) for seed in ("1", "20"))
    assert first == second
    assert len(set(first)) == 2
    assert (tmp_path / "run1" / "out" / "manifest.json").read_bytes() == (
        tmp_path / "run20" / "out" / "manifest.json"
    ).read_bytes()


def test_other_data_or_another_model_is_another_digest(cancer, tmp_path):
    x, y = cancer
    forest = RandomForestClassifier(3, random_state=0).fit(x, y)
    other = RandomForestClassifier(3, random_state=1).fit(x, y)
    packs = [(forest, x[:60]), (forest, x[:61]), (other, x[:60])]
    digests = [
        pack(model, sample, name="m", out=tmp_path / str(number)).digest for number, (model, sample) in enumerate(packs)
    ]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("kind", ["forest", "boosting", "text"])
def test_a_skops_file_is_a_function_of_the_estimator(kind, cancer):
    x, y = cancer
    fitted = {
        "forest": lambda: RandomForestClassifier(3, random_state=0).fit(x, y),
        "boosting": lambda: HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(x, y),
        "text": lambda: CountVectorizer(stop_words=["a", "the", "of"]).fit(["a plain text", "the text of another"]),
    }[kind]
    model, again = fitted(), fitted()
    model.note = again.note = {"one", "two", "three"}
    data = dump_skops(model)
    assert data == dump_skops(again)
    assert data != skops_io.dumps(model)
    restored = skops_io.loads(data, trusted=skops_io.get_untrusted_types(data=data))
    assert restored.note == model.note
    if kind != "text":
        assert np.array_equal(restored.predict_proba(x), model.predict_proba(x))
