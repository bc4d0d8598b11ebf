"""Nothing is collected: ONNX Runtime finds its telemetry switched off, whatever loads it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import penstock

PACK = """
import numpy as np, sys, penstock
from sklearn.linear_model import LinearRegression
x = np.arange(20.0).reshape(-1, 1)
penstock.pack(LinearRegression().fit(x, x[:, 0]), x, name="line", out=sys.argv[1])
"""


def test_packing_leaves_no_device_id_in_an_empty_home(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", PACK, str(tmp_path / "line.penstock")]
    subprocess.run(command, check=True, env={**environment, "HOME": str(home)})
    assert (tmp_path / "line.penstock").is_file()
    assert [path for path in home.rglob("*") if "onnxruntime" in path.name or path.name == "Microsoft"] == []


def test_the_library_is_imported_in_one_place_only():
    package = Path(penstock.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import onnxruntime|from onnxruntime)", path.read_text(), re.MULTILINE)
    }
    assert found == {"runtime/ort.py"}
