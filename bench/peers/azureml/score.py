"""The entry script that Azure's inference server is given: loads the benchmark's model, answers rows of numbers."""
import json
import os

import joblib
import numpy as np

model = None


def init():
    global model
    model = joblib.load(f"{os.environ['MODELS']}/{os.environ['BENCH_MODEL']}.joblib")


def run(raw):
    return {"predictions": model.predict_proba(np.array(json.loads(raw)["data"])).tolist()}
