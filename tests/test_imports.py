"""What an import costs, and that names mean the same in every order of imports; each in a fresh interpreter."""

import inspect
import subprocess
import sys

import pytest

import penstock

HEAVY = ["pandas", "sklearn", "sqlalchemy", "typer", "onnx", "skl2onnx"]
NODE_ONLY = ["onnxruntime", "uvloop", "httptools", "simdjson", "prometheus_client"]


def run(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)


def loaded_by(code, names):
    done = run(f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_probe_sees_what_is_loaded():
    assert loaded_by("import pandas", HEAVY) == ["pandas"]


def test_a_node_loads_nothing_of_training_or_control():
    code = "import penstock.serving.run, penstock.serving.__main__, penstock.serving.metrics"
    assert loaded_by(code, [*HEAVY, "httpx", "penstock.pack", "penstock.sdk", "penstock.registry"]) == []


def test_the_client_loads_nothing_of_the_node():
    code = "import penstock; penstock.Client('http://127.0.0.1:1'); penstock.AsyncClient; penstock.Prediction"
    assert loaded_by(code, [*HEAVY, *NODE_ONLY, "penstock.serving", "penstock.runtime", "penstock.pack"]) == []


def test_the_client_works_without_pandas():
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    code = """
import sys
sys.modules["pandas"] = None
import numpy, penstock
from penstock.sdk.inputs import tensors_of
assert tensors_of(numpy.zeros((2, 3)))["x"].shape == (2, 3)
"""
    assert run(code).returncode == 0


def test_the_package_itself_loads_almost_nothing():
    assert loaded_by("import penstock", [*HEAVY, *NODE_ONLY, "numpy", "httpx", "msgspec"]) == []


@pytest.mark.parametrize("name", penstock.__all__)
def test_every_exported_name_is_there_and_listed(name):
    assert getattr(penstock, name) is not None
    assert name in dir(penstock)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'pakc'"):
        penstock.pakc  # noqa: B018


ORDERS = {
    "the package alone": "import penstock",
    "the subpackage": "import penstock.pack",
    "a module of the subpackage": "import penstock.pack.convert",
    "a module after the first use": "import penstock\nfirst = penstock.pack\nimport penstock.pack.convert",
    "the function first": "from penstock.pack import pack as function\nimport penstock",
    "from the package": "from penstock import pack\nimport penstock.pack.sample\nassert penstock.pack is pack",
    "everything": "from penstock import *\nimport penstock\nassert pack is penstock.pack",
    "by name": "import importlib, penstock\nimportlib.import_module('penstock.pack.packing')",
    "the client first": "import penstock\npenstock.Client\nimport penstock.pack.convert.convert",
    "reloaded": "import importlib, penstock\nimportlib.reload(penstock.pack)\nimportlib.reload(penstock)",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_pack_is_callable_in_every_order_of_imports(order):
    code = f"""{order}
try:
    penstock.pack("no-such-file.joblib", name="x", allow_pickle="test")
except penstock.PenstockError as error:
    assert error.code, error
else:
    raise SystemExit("nothing was called")
assert callable(penstock.pack.pack)
import penstock.pack.convert
assert penstock.pack.convert.__name__ == "penstock.pack.convert"
from penstock import pack
assert pack is penstock.pack
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_the_call_takes_what_the_function_takes():
    for called in (penstock.pack, penstock.pack.pack):
        assert inspect.signature(called).bind("model", "sample", name="x", out="y", target="z")
