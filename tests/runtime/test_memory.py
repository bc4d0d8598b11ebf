"""Loading and unloading again and again gives the memory back."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from tests.runtime.conftest import LABELS, ROWS, make_bundle

from penstock.bundle.manifest import Artifact
from penstock.core.signature import Field

SCORES = Field(name="probabilities", datatype="FP32", shape=(-1, 2))


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """A forest of 50 trees as ONNX: a graph of about a megabyte."""
    x = np.random.default_rng(5).normal(size=(2000, 4)).astype(np.float32)
    estimator = RandomForestClassifier(50, random_state=0, max_depth=9).fit(x, (x[:, 0] * x[:, 1] > 0).astype(np.int64))
    folder = tmp_path_factory.mktemp("forest")
    options = {id(estimator): {"zipmap": False}}
    graph = to_onnx(estimator, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    # Inputs and outputs are called as in the signature, as packing does it.
    ends = (*graph.graph.input, *graph.graph.output)
    names = {end.name: name for end, name in zip(ends, ("x", "predictions", "probabilities"), strict=True)}
    for node in graph.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for end in ends:
        end.name = names[end.name]
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    artifact = Artifact(path="model.onnx", runtime="onnx", serialization="onnx")
    outputs = {
        "predictions": estimator.predict(ROWS),
        "probabilities": estimator.predict_proba(ROWS).astype(np.float32),
    }
    signature = msgspec.structs.replace(LABELS, outputs=(LABELS.outputs[0], SCORES))
    return make_bundle(folder, artifact, signature, outputs)


CYCLES = """
import gc, sys
from pathlib import Path
from penstock.bundle.bundle import verify_directory
from penstock.runtime import golden
from penstock.runtime.load import load_model

for cycle in range(1, 111):
    bundle = verify_directory(Path(sys.argv[1]))
    model = load_model(bundle)
    golden.replay(model, bundle)
    model.close()
    del model
    gc.collect()
    if cycle in (10, 110):
        print(Path("/proc/self/smaps_rollup").read_text().split("\\nAnonymous:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells what memory is its own")
def test_memory_stays_within_a_tenth_over_100_loads(forest):
    command = [sys.executable, "-c", CYCLES, str(forest.directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    print(f"Own memory after cycle 10: {before} kB, after cycle 110: {after} kB")
    assert abs(after - before) <= before / 10
