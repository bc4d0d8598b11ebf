"""Pickles that run code when opened, as public advisories describe them.

Without a waiver nothing is opened at all. With one, the code runs in the child process and nowhere else: the process
that packs survives, does not import what the pickle names, and nothing is left at `out`.
"""

import builtins
import code
import cProfile
import functools
import json
import os
import pickle
import runpy
import subprocess
import sys
import time
import timeit
import zipfile

import joblib
import numpy as np
import pytest
from numpy.testing._private import utils as numpy_testing
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from skops import io as skops_io

from penstock.core.errors import PenstockError, Refused
from penstock.pack import pack, pack_file

SAMPLE = np.random.default_rng(0).normal(size=(20, 2))


class Gadget:
    """Unpickles as a call: the heart of every advisory about pickle.

    NumPy CVE-2019-6446, scikit-learn CVE-2020-13092, joblib CVE-2022-21797 and MLflow CVE-2024-37052 are of this kind.
    """

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _gadgets(mark):
    # Each leaves `mark` behind with the id of the process that ran it.
    script = f"import os; open({str(mark)!r}, 'w').write(str(os.getpid()))"
    shell = f"echo $PPID > {mark}"
    return {
        "os.system": Gadget(os.system, shell),
        "builtins.exec": Gadget(builtins.exec, script),
        "builtins.eval": Gadget(builtins.eval, f"__import__('builtins').exec({script!r})"),
        "subprocess.Popen": Gadget(subprocess.check_call, ["/bin/sh", "-c", shell]),
        "runpy": Gadget(runpy._run_code, script, {}),
        "numpy.testing": Gadget(numpy_testing.runstring, script, {}),
        "timeit": Gadget(timeit.timeit, script, "pass", time.perf_counter, 1),
        "cProfile": Gadget(cProfile.run, script),
        "code": Gadget(code.InteractiveInterpreter.runsource, Gadget(code.InteractiveInterpreter), script),
    }


def _save(gadget, path):
    if path.suffix == ".joblib":
        joblib.dump(gadget, path)
    else:
        path.write_bytes(pickle.dumps(gadget))
    return path


NAMES = sorted(_gadgets("mark"))


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib"])
@pytest.mark.parametrize("name", NAMES)
def test_without_a_waiver_nothing_is_executed(name, suffix, tmp_path):
    mark = tmp_path / "mark"
    path = _save(_gadgets(mark)[name], tmp_path / f"model{suffix}")
    with pytest.raises(Refused) as refusal:
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out")
    assert refusal.value.code == "pickle-refused"
    assert not mark.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "timeit"])
def test_with_a_waiver_only_the_child_executes(name, tmp_path):
    mark = tmp_path / "mark"
    path = _save(_gadgets(mark)[name], tmp_path / "model.pkl")
    with pytest.raises(PenstockError):
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out", allow_pickle="a test of what happens then")
    # It ran once, which the waiver allows, and not here.
    assert int(mark.read_text()) != os.getpid()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mark", "model.pkl"]


@pytest.mark.parametrize(
    ("gadget", "said"),
    [
        (Gadget(os._exit, 7), "exit code 7"),
        (Gadget(os.abort), "killed by signal 6"),
        (Gadget(sys.exit, 0), "exit code 0"),
    ],
    ids=["os._exit", "os.abort", "sys.exit"],
)
def test_a_pickle_that_ends_its_process_ends_only_that(gadget, said, tmp_path):
    path = _save(gadget, tmp_path / "model.pkl")
    with pytest.raises(PenstockError) as failure:
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out", allow_pickle="a test")
    assert failure.value.code == "model-died"
    assert said in failure.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("disguise", [".skops", ".json", ".ubj", ".txt", ".cbm", ".onnx"])
def test_a_pickle_under_another_name_is_not_opened_as_one(disguise, tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / f"model{disguise}"
    path.write_bytes(pickle.dumps(_gadgets(mark)["builtins.exec"]))
    with pytest.raises(PenstockError) as failure:
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out")
    assert failure.value.code == "damaged-model"
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_a_sample_with_pickled_objects_is_refused(suffix, tmp_path):
    mark = tmp_path / "mark"
    array = np.array([_gadgets(mark)["builtins.exec"]], object)
    path = tmp_path / f"sample{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, array, allow_pickle=True)
    model = LogisticRegression().fit(SAMPLE, SAMPLE[:, 0] > 0)
    with pytest.raises(PenstockError) as failure:
        pack(model, path, name="m", out=tmp_path / "out")
    assert failure.value.code == "unreadable-sample"
    assert not mark.exists()


class _Callable:
    """A type of the author's own inside a skops file."""

    def predict(self, x):
        return np.zeros(len(x))


def test_a_skops_file_with_types_of_its_own_is_refused(tmp_path):
    model = LogisticRegression().fit(SAMPLE, SAMPLE[:, 0] > 0)
    model.extra = _Callable()
    path = tmp_path / "model.skops"
    skops_io.dump(model, path)
    with pytest.raises(Refused) as refusal:
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out")
    assert refusal.value.code == "untrusted-type"


def test_a_partial_of_an_untrusted_function_is_refused(tmp_path):
    """`functools.partial` is on our list, what it calls must be on it, too."""
    model = FunctionTransformer(functools.partial(os.system)).fit(SAMPLE)
    path = tmp_path / "model.skops"
    skops_io.dump(model, path)
    with pytest.raises(Refused) as refusal:
        pack_file(path, SAMPLE, name="m", out=tmp_path / "out")
    assert refusal.value.code == "untrusted-type"
    assert "system" in refusal.value.message


@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "builtins.eval", "subprocess.Popen"])
def test_a_skops_schema_that_names_a_function_is_refused(target, tmp_path):
    module, _, function = target.rpartition(".")
    good = tmp_path / "good.skops"
    skops_io.dump(LogisticRegression().fit(SAMPLE, SAMPLE[:, 0] > 0), good)
    mark = tmp_path / "mark"
    node = {
        "__class__": "function",
        "__module__": "builtins",
        "__loader__": "FunctionNode",
        "content": {"module_path": module, "function": function},
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16.0",
        "trusted": [target],
    }
    bad = tmp_path / "bad.skops"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("schema.json", json.dumps(node))
    with pytest.raises(PenstockError) as failure:
        pack_file(bad, SAMPLE, name="m", out=tmp_path / "out")
    assert failure.value.code in ("untrusted-type", "damaged-model")
    assert not mark.exists()
