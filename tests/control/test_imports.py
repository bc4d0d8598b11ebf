"""Control is installed without the libraries that packing needs, and starts without loading them."""

import subprocess
import sys


def test_control_loads_nothing_that_packs_or_trains():
    code = "import sys, penstock.control.control; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sqlalchemy" in loaded
    assert not {"onnx", "skl2onnx", "sklearn", "pandas", "fastapi", "typer", "duckdb", "rich"} & set(loaded)
