"""MLflow models: native flavors need no MLflow; any other is asked in its own environment, by the real MLflow."""

import contextlib
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from penstock.bundle.bundle import open_bundle
from penstock.core.errors import InvalidInput, NotFound, PenstockError, Refused, Unavailable, Unsupported
from penstock.pack import pack
from penstock.pack.lock import lock_of
from penstock.pack.mlflow_model import read_mlmodel
from penstock.runtime import golden
from penstock.runtime.load import load_model

ROWS = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20) % 3, "c": np.arange(20.0)[::-1]})
LABELS = (ROWS["a"] > 9).astype(int)
KINDS = {"a": "double", "b": "long", "c": "double"}
COLUMNS = [{"name": name, "type": kind, "required": True} for name, kind in KINDS.items()]
PYFUNC = "  python_function:\n    loader_module: mlflow.sklearn\n    python_version: 3.11.7\n"


def _folder(path, flavors, columns=COLUMNS, requirements=""):
    path.mkdir()
    example = {"columns": list(ROWS), "data": ROWS.to_numpy().tolist()}
    (path / "input_example.json").write_text(json.dumps(example))
    (path / "requirements.txt").write_text(requirements)
    (path / "MLmodel").write_text(
        f"flavors:\n{flavors}model_uuid: abc\nsaved_input_example_info:\n  artifact_path: input_example.json\n"
        f"  type: dataframe\n  pandas_orient: split\nsignature:\n  inputs: '{json.dumps(columns)}'\n  params: null\n"
    )
    return path


@pytest.fixture
def estimator():
    return LogisticRegression().fit(ROWS, LABELS)


def _sklearn(version):
    return (
        f"  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n    sklearn_version: {version}\n"
    )


def _version():
    import sklearn

    return sklearn.__version__


def test_a_scikit_learn_folder_is_packed_without_mlflow(estimator, tmp_path):
    folder = _folder(tmp_path / "model", PYFUNC + _sklearn(_version()))
    joblib.dump(estimator, folder / "model.pkl")
    with pytest.raises(Refused, match="pickle-refused"):
        pack(folder, name="churn", out=tmp_path / "m.penstock")
    packed = pack(folder, name="churn", out=tmp_path / "m.penstock", allow_pickle="ours")
    manifest = packed.manifest
    assert (manifest.original.serialization, manifest.served.runtime) == ("joblib", "onnx")
    assert [(field.name, field.datatype) for field in manifest.signature.inputs] == [
        ("a", "FP64"), ("b", "INT64"), ("c", "FP64")
    ]  # fmt: skip
    assert manifest.lineage.parameters["mlflow.model_uuid"] == "abc"
    bundle = open_bundle(packed.path, tmp_path / "cache")
    model = load_model(bundle)
    golden.replay(model, bundle)
    inputs = {name: ROWS[name].to_numpy() for name in ROWS}
    assert np.array_equal(model.run(inputs)["predictions"], estimator.predict(ROWS))


def test_a_booster_folder_needs_no_waiver(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(ROWS, LABELS)
    about = "  xgboost:\n    data: model.ubj\n    model_class: xgboost.sklearn.XGBClassifier\n    model_format: ubj\n"
    folder = _folder(tmp_path / "model", PYFUNC + about)
    model.save_model(folder / "model.ubj")
    manifest = pack(folder, name="churn", out=tmp_path / "m.penstock").manifest
    assert (manifest.original.runtime, manifest.evidence.converted, manifest.waiver) == ("xgboost", True, None)


def test_a_sample_of_ones_own_comes_before_the_example(estimator, tmp_path):
    folder = _folder(tmp_path / "model", PYFUNC + _sklearn(_version()))
    joblib.dump(estimator, folder / "model.pkl")
    (folder / "input_example.json").unlink()
    with pytest.raises(InvalidInput, match="unreadable-sample"):
        pack(folder, name="churn", out=tmp_path / "m.penstock", allow_pickle="ours")
    sample = ROWS.assign(b=ROWS["b"].astype("int8"))
    manifest = pack(folder, sample, name="churn", out=tmp_path / "m.penstock", allow_pickle="ours").manifest
    assert manifest.signature.inputs[1].datatype == "INT64"


def test_an_estimator_of_another_version_is_left_to_its_own_environment(estimator, tmp_path):
    folder = _folder(tmp_path / "model", PYFUNC + _sklearn("0.9.1"), requirements="./there-is-no-such.whl\n")
    joblib.dump(estimator, folder / "model.pkl")
    with pytest.raises(Unavailable) as refused:
        pack(folder, name="churn", out=tmp_path / "m.penstock", allow_pickle="ours")
    assert refused.value.code == "model-environment"
    assert "there-is-no-such.whl" in refused.value.message
    assert not (tmp_path / "m.penstock").exists()


@pytest.mark.parametrize(
    ("flavors", "columns", "code"),
    [
        ("  keras:\n    data: data\n", COLUMNS, "unsupported-mlflow"),
        (PYFUNC, [], "mlflow-signature-missing"),
        (PYFUNC, [{"name": "when", "type": "datetime", "required": True}], "unsupported-mlflow-type"),
        ("  onnx:\n    data: ../model.onnx\n", COLUMNS, "unsafe-archive"),
    ],
)
def test_what_cannot_be_packed_says_why(flavors, columns, code, tmp_path):
    with pytest.raises(PenstockError) as refused:
        pack(_folder(tmp_path / "model", flavors, columns), name="churn", out=tmp_path / "m.penstock")
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["", "flavors: 3", "- a", "flavors:\n  x: 1\nsignature:\n  inputs: '{'", "a: &b 1"])
def test_a_file_that_is_no_mlmodel(text, tmp_path):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(InvalidInput):
        read_mlmodel(tmp_path)


def test_an_address_without_mlflow_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(Unsupported, match="missing-extra"):
        pack("models:/churn@champion", name="churn", out=tmp_path / "m.penstock")


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    return mlflow


@pytest.mark.filterwarnings("ignore")
def test_addresses_of_a_tracking_store(tracking, estimator, tmp_path):
    signature = tracking.models.infer_signature(ROWS, LABELS)
    with tracking.start_run() as run:
        tracking.sklearn.log_model(
            estimator, name="model", input_example=ROWS[:5], signature=signature, registered_model_name="churn",
            serialization_format="cloudpickle",
        )  # fmt: skip
    tracking.MlflowClient().set_registered_model_alias("churn", "champion", 1)
    for address in (f"runs:/{run.info.run_id}/model", "models:/churn/1", "models:/churn@champion"):
        manifest = pack(address, name="churn", out=tmp_path / "m.penstock", allow_pickle="ours").manifest
        assert (manifest.served.runtime, manifest.lineage.parameters["mlflow.model"]) == ("onnx", address)
    with pytest.raises(NotFound, match="unknown-mlflow-model"):
        pack("models:/churn@nobody", name="churn", out=tmp_path / "m.penstock")


@pytest.mark.filterwarnings("ignore")
def test_a_python_function_is_served_with_its_parameters(tracking, tmp_path):
    class Times(tracking.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input["a"] * (params or {}).get("factor", 2.0)

    signature = tracking.models.infer_signature(ROWS, ROWS["a"], {"factor": 2.0})
    tracking.pyfunc.save_model(
        tmp_path / "model", python_model=Times(), signature=signature, input_example=(ROWS[:5], {"factor": 3.0})
    )
    packed = pack(tmp_path / "model", name="times", out=tmp_path / "m.penstock", allow_pickle="ours")
    assert packed.manifest.served.runtime == "mlflow"
    bundle = open_bundle(packed.path, tmp_path / "cache")
    with pytest.raises(Refused, match="pickle-refused"):
        load_model(bundle)
    model = load_model(bundle, allow_pickle=True)
    golden.replay(model, bundle)
    inputs = {name: ROWS[name].to_numpy() for name in ROWS}
    assert np.array_equal(model.run(inputs)["predictions"], ROWS["a"] * 2)
    assert np.array_equal(model.run(inputs, {"factor": 5, "other": "x"})["predictions"], ROWS["a"] * 5)
    for wrong in ("five", [5.0], True):
        with pytest.raises(InvalidInput, match="invalid-parameter"):
            model.run(inputs, {"factor": wrong})


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_without_a_name(tracking, tmp_path):
    class Mean(tracking.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            assert isinstance(model_input, np.ndarray)
            return {"mean": model_input.mean(axis=(1, 2))}

    cubes = np.arange(24.0).reshape(4, 3, 2)
    signature = tracking.models.infer_signature(cubes, {"mean": cubes.mean(axis=(1, 2))})
    tracking.pyfunc.save_model(tmp_path / "model", python_model=Mean(), signature=signature, input_example=cubes)
    packed = pack(tmp_path / "model", name="mean", out=tmp_path / "m.penstock", allow_pickle="ours")
    assert [(f.name, f.shape) for f in packed.manifest.signature.inputs] == [("x", (-1, 3, 2))]
    model = load_model(open_bundle(packed.path, tmp_path / "cache"), allow_pickle=True)
    assert np.array_equal(model.run({"x": cubes})["mean"], cubes.mean(axis=(1, 2)))


def hostile(tmp_path, mlmodel, **files):
    folder = tmp_path / "hostile"
    folder.mkdir()
    signature = json.dumps([{"name": "x", "type": "double", "required": True}])
    (folder / "MLmodel").write_text(f"{mlmodel}signature:\n  inputs: '{signature}'\n")
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


HOSTILE = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: {path}\n"


@pytest.mark.parametrize("protocol", [0, 2])
def test_whatever_a_python_function_looks_like_it_needs_a_waiver(tmp_path, protocol):
    folder = hostile(tmp_path, HOSTILE.format(path="model.bin"), model_bin=pickle.dumps({}, protocol))
    with pytest.raises(Refused, match="pickle-refused"):
        pack(folder, pd.DataFrame({"x": [1.0, 2.0]}), name="m", out=tmp_path / "m.penstock")


@pytest.mark.parametrize("path", ["/etc/hostname", "../outside.bin", "a/../../outside.bin"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, path):
    with pytest.raises(Refused, match="not in the folder"):
        read_mlmodel(hostile(tmp_path, HOSTILE.format(path=path)))
    with pytest.raises(Refused, match="not in the folder"):
        (tmp_path / "hostile" / "MLmodel").write_text(
            f"flavors: {{}}\nsaved_input_example_info: {{artifact_path: {path}}}\n"
        )
        read_mlmodel(tmp_path / "hostile")


def test_a_link_is_refused(tmp_path):
    folder = hostile(tmp_path, HOSTILE.format(path="model.bin"))
    (tmp_path / "secret").write_text("secret")
    (folder / "model.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="is a link"):
        read_mlmodel(folder)


@pytest.mark.parametrize(
    "line", ["-r /etc/hostname", "evil @ file:///tmp/evil", "./evil", "--index-url x", "git+ssh://x"]
)
def test_requirements_name_packages_and_nothing_else(tmp_path, line):
    with pytest.raises(Unavailable, match="no package of an index"):
        lock_of(f"numpy==0.1\n{line}\n", "", tmp_path)


@pytest.mark.parametrize(
    "example", [b"[" * 200_000, b'{"columns": ["x"], "data": [[1' + b"0" * 30 + b"]]}", b"{", b"\xff"]
)
def test_an_example_that_cannot_be_read_is_told(tmp_path, example):
    info = "saved_input_example_info: {artifact_path: input.json, type: ndarray}\n"
    folder = hostile(tmp_path, HOSTILE.format(path="model.bin") + info, input_json=example)
    with contextlib.suppress(InvalidInput):
        read_mlmodel(folder).sample()
