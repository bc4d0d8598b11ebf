"""Plain Python classes: kept as source with their assets, run in a process of their own."""

import textwrap

import numpy as np
import pandas as pd
import pytest

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import NotFound, PenstockError, Refused
from penstock.pack import pack_file
from penstock.runtime import golden
from penstock.runtime.load import load_model

SAMPLE = np.random.default_rng(0).normal(size=(20, 3))


def _write(folder, body, **assets):
    (folder / "model.py").write_text(textwrap.dedent(body))
    (folder / "assets").mkdir()
    for name, text in assets.items():
        (folder / "assets" / name.replace("__", ".")).write_text(text)
    return f"{folder}/model.py:Model"


SCALED = """
    import json
    import numpy as np
    import scaling

    class Model:
        def load(self, directory):
            self.factor = json.loads((directory / "factor.json").read_text())

        def predict(self, x):
            return scaling.scaled(np.asarray(x).sum(axis=1), self.factor)
"""


def test_a_class_with_its_assets(tmp_path):
    assets = {"factor__json": "2.5", "scaling__py": "import pandas\ndef scaled(x, factor):\n    return x * factor\n"}
    model = _write(tmp_path, SCALED, **assets)
    packed = pack_file(model, SAMPLE, name="m", out=tmp_path / "out", assets=str(tmp_path / "assets"))
    manifest = packed.manifest
    assert (manifest.served.runtime, manifest.served.serialization) == ("python", "source")
    assert (manifest.served.path, manifest.served.entry) == ("original/model.py", "Model")
    assert {"original/factor.json", "original/scaling.py"} <= set(manifest.files)
    assert manifest.waiver is None
    # What the source and its neighbours import is what its environment must hold.
    assert "pandas" in manifest.lineage.packages
    bundle = verify_directory(packed.path, packed.digest)
    served = load_model(bundle)
    golden.replay(served, bundle)
    assert np.allclose(served.run({"x": SAMPLE})["predictions"], SAMPLE.sum(axis=1) * 2.5)
    verify_directory(packed.path, packed.digest)


def test_a_table_and_named_outputs(tmp_path):
    body = """
    class Model:
        classes = ["low", "high"]
        def predict(self, x):
            score = (x["a"] / 10).to_numpy()
            return {"predictions": ["high" if s > 0.5 else "low" for s in score], "score": score}
    """
    packed = pack_file(_write(tmp_path, body), pd.DataFrame({"a": [1, 9, 4]}), name="m", out=tmp_path / "out")
    signature = packed.manifest.signature
    assert [(field.name, field.datatype) for field in signature.outputs] == [
        ("predictions", "BYTES"),
        ("score", "FP64"),
    ]
    assert signature.classes == ("low", "high")


def test_a_class_that_keeps_state_is_found_out(tmp_path):
    body = """
    import itertools
    class Model:
        def __init__(self):
            self.calls = itertools.count()
        def predict(self, x):
            return x.sum(axis=1) + next(self.calls)
    """
    manifest = pack_file(_write(tmp_path, body), SAMPLE, name="m", out=tmp_path / "out").manifest
    assert not manifest.golden.deterministic
    assert not manifest.batching.allowed


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("class Other:\n    def predict(self, x): return x", "damaged-model"),
        ("class Model:\n    pass", "damaged-model"),
        ("Model = 7", "damaged-model"),
        ("class Model(", "model-failed"),
        ("import no_such_module", "model-failed"),
        (
            "class Model:\n    def load(self, d): (d / 'gone').read_text()\n    def predict(self, x): return x",
            "model-failed",
        ),
        ("class Model:\n    def predict(self, x): raise ValueError('no')", "sample-refused"),
        ("class Model:\n    def predict(self, x): return 7", "wrong-output"),
        ("class Model:\n    def predict(self, x): return x[:1]", "wrong-output"),
        ("class Model:\n    def predict(self, x): return x * 1j", "sample-refused"),
        ("import os\nclass Model:\n    def predict(self, x): os._exit(3)", "sample-refused"),
        ("import os\nos.abort()", "model-died"),
    ],
)
def test_classes_that_do_not_work(body, code, tmp_path):
    with pytest.raises(PenstockError) as failure:
        pack_file(_write(tmp_path, body), SAMPLE, name="m", out=tmp_path / "out")
    assert failure.value.code == code
    assert not (tmp_path / "out").exists()


def test_the_source_runs_only_in_the_child(tmp_path):
    body = """
    import os, pathlib
    pathlib.Path(__file__).parent.parent.joinpath("seen").exists()
    class Model:
        def predict(self, x):
            return [float(os.getpid())] * len(x)
    """
    manifest = pack_file(_write(tmp_path, body), SAMPLE, name="m", out=tmp_path / "out").manifest
    # Two processes, two answers: neither was this one, and the second is not the first.
    assert not manifest.golden.deterministic


def test_what_is_printed_does_not_reach_standard_output(tmp_path, capfd):
    body = """
    print("from the module")
    class Model:
        def predict(self, x):
            print("from predict")
            return x.sum(axis=1)
    """
    pack_file(_write(tmp_path, body), SAMPLE, name="m", out=tmp_path / "out")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "model", ["model.py", "model.py:", "model.py:not a name", "gone.py:Model", "model.h5", "gone.onnx"]
)
def test_models_that_are_no_model(model, tmp_path):
    (tmp_path / "model.py").write_text("")
    with pytest.raises(PenstockError) as failure:
        pack_file(tmp_path / model, SAMPLE, name="m", out=tmp_path / "out")
    assert failure.value.code in ("unknown-model-file", "unknown-file")


def test_assets_that_are_links_or_not_there(tmp_path):
    model = _write(tmp_path, "class Model:\n    def predict(self, x): return x.sum(axis=1)")
    with pytest.raises(NotFound):
        pack_file(model, SAMPLE, name="m", out=tmp_path / "out", assets=str(tmp_path / "gone"))
    (tmp_path / "assets" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(Refused):
        pack_file(model, SAMPLE, name="m", out=tmp_path / "out", assets=str(tmp_path / "assets"))
