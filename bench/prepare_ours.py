"""Pack the benchmark's model for Penstock: prepare_ours.py onnx|original [--keys] [--table] [--sample SHARE] [--canary].

Writes $WORK/m.penstock, and $WORK/routes.json for those that want a key or the prediction log.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

import penstock
from penstock.core.digest import digest_of

options = argparse.ArgumentParser()
options.add_argument("form", choices=["onnx", "original"])
options.add_argument("--keys", action="store_true")
options.add_argument("--sample", type=float, default=1.0)
options.add_argument("--table", action="store_true", help="the columns have names: c0, c1, ...")
options.add_argument("--canary", action="store_true", help="a second version gets a tenth of the units")
given = options.parse_args()

models, name, work = Path(os.environ["MODELS"]), os.environ["BENCH_MODEL"], Path(os.environ["WORK"])
sample = np.array(json.loads((models / f"{name}.rows.json").read_text())["rows"])
if given.table:
    sample = pd.DataFrame(sample, columns=[f"c{number}" for number in range(sample.shape[1])])
source = models / f"{name}.joblib"
bundle = work / "m.penstock"
if given.form == "onnx":
    packed = penstock.pack(source, sample, name="m", out=bundle, allow_pickle="the benchmark trained it itself")
else:
    # Opened here and given live, so that it is stored as skops and the worker need not open a pickle.
    import joblib

    packed = penstock.pack(joblib.load(source), sample, name="m", out=bundle, convert=False)

arm = {"name": "main", "version": "m/1", "bundle": packed.digest, "uri": str(bundle), "weight": 10_000}
routes = {"format": 1, "generation": 1, "endpoints": {"m": {"arms": [arm], "recording": {"sample": given.sample}}}}
if given.canary:
    # The same model, another bundle: two versions are loaded, each with batches of its own.
    second = work / "m2.penstock"
    next_one = penstock.pack(source, sample[: len(sample) // 2], name="m", out=second, allow_pickle="the same again")
    new = {**arm, "name": "candidate", "version": "m/2", "bundle": next_one.digest, "uri": str(second), "weight": 1_000}
    routes["endpoints"]["m"] |= {"arms": [{**arm, "weight": 9_000}, new], "unit": {"header": "x-user"}}
if given.keys:
    key = "pk_bench_" + 43 * "k"
    routes["access"] = {"keys": {"bench": {"digest": digest_of(key.encode()), "subject": "bench"}}}
(work / "routes.json").write_text(json.dumps(routes))
