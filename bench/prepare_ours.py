"""Pack the benchmark's model for Penstock: prepare_ours.py onnx|original.  Writes $WORK/m.penstock."""

import json
import os
import sys
from pathlib import Path

import numpy as np

import penstock

models, name, work = Path(os.environ["MODELS"]), os.environ["BENCH_MODEL"], Path(os.environ["WORK"])
sample = np.array(json.loads((models / f"{name}.rows.json").read_text())["rows"])
source = models / f"{name}.joblib"
if sys.argv[1] == "onnx":
    penstock.pack(source, sample, name="m", out=work / "m.penstock", allow_pickle="the benchmark trained it itself")
else:
    # Opened here and given live, so that it is stored as skops and the worker need not open a pickle.
    import joblib

    penstock.pack(joblib.load(source), sample, name="m", out=work / "m.penstock", convert=False)
