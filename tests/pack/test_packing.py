"""From a model to a sealed bundle, for each way a model may be given."""

import joblib
import numpy as np
import pytest

from penstock.bundle.bundle import open_bundle, verify_directory
from penstock.core.errors import Refused
from penstock.pack import pack
from penstock.runtime import golden
from penstock.runtime.load import load_model


def test_a_live_pipeline_is_served_as_onnx_and_answers_the_same(logistic, cancer, tmp_path):
    x, _ = cancer
    packed = pack(logistic, x, name="cancer", out=tmp_path / "cancer.penstock")
    bundle = open_bundle(packed.path, tmp_path / "cache", packed.digest)
    manifest = bundle.manifest
    assert (manifest.original.serialization, manifest.served.runtime) == ("skops", "onnx")
    assert manifest.evidence.converted
    assert manifest.evidence.rows_compared == len(x)
    assert manifest.batching.allowed
    assert manifest.golden.deterministic
    model = load_model(bundle)
    golden.replay(model, bundle)
    answers = model.run({"x": x})
    assert np.array_equal(answers["predictions"], logistic.predict(x))
    assert np.allclose(answers["probabilities"], logistic.predict_proba(x), rtol=1e-4, atol=1e-5)


def test_a_table_has_one_input_per_column(churn, people, tmp_path):
    packed = pack(churn, people, name="churn", target="left", out=tmp_path / "churn")
    signature = verify_directory(tmp_path / "churn", packed.digest).manifest.signature
    assert [(field.name, field.datatype, field.shape) for field in signature.inputs] == [
        ("age", "INT64", (-1,)),
        ("income", "FP64", (-1,)),
        ("city", "BYTES", (-1,)),
    ]
    city = signature.inputs[2]
    assert city.categories == ("Bern", "Oslo", "Rome")
    assert city.closed
    assert signature.classes == ("no", "yes")


def test_a_joblib_file_needs_a_waiver(logistic, cancer, tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(logistic, path)
    with pytest.raises(Refused) as refusal:
        pack(path, cancer[0], name="cancer", out=tmp_path / "out")
    assert refusal.value.code == "pickle-refused"
    packed = pack(path, cancer[0], name="cancer", out=tmp_path / "out", allow_pickle="we trained it")
    assert packed.manifest.waiver.reason == "we trained it"
    assert packed.manifest.served.runtime == "onnx"
    assert (tmp_path / "out" / "original" / "model.joblib").read_bytes() == path.read_bytes()


def test_the_package_is_the_function(logistic, cancer, tmp_path):
    import penstock.pack.sample

    packed = penstock.pack(logistic, cancer[0], name="cancer", out=tmp_path / "out")
    assert packed.path == tmp_path / "out"
    assert packed.timings[0].rows == 1
