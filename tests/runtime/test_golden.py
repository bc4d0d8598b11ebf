"""The golden set: what is written is read, and a model that answers otherwise is caught, with the place named."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.runtime.conftest import ROWS, python_bundle

from penstock.core.errors import InvalidInput, ModelFailed
from penstock.core.frames import encode_frame
from penstock.runtime import golden
from penstock.runtime.golden import GoldenCall, compare
from penstock.runtime.load import load_model

SUM = "class Model:\n    def predict(self, x):\n        return x.sum(axis=1).astype('float64')\n"


@given(
    st.lists(arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4)), min_size=1, max_size=4),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=4),
)
def test_what_is_written_is_read(tmp_path_factory, floats, words):
    path = tmp_path_factory.mktemp("golden") / "golden.bin"
    text = np.empty(len(words), object)
    text[:] = words
    calls = [GoldenCall({"a/b": array, "t": text}, {"p": array}) for array in floats]
    golden.write(path, calls)
    for wrote, got in zip(calls, golden.read(path), strict=True):
        np.testing.assert_array_equal(got.inputs["a/b"], wrote.inputs["a/b"])
        assert got.inputs["t"].tolist() == words
        np.testing.assert_array_equal(got.outputs["p"], wrote.outputs["p"])


@pytest.mark.parametrize(
    ("tensors", "meta", "code"),
    [
        ({"0/inputs/x": ROWS}, {}, "damaged-golden"),
        ({"0/inputs/x": ROWS}, {"format": 1, "calls": 0}, "damaged-golden"),
        ({"0/inputs/x": ROWS}, {"format": 1, "calls": 10**9}, "damaged-golden"),
        ({"1/inputs/x": ROWS}, {"format": 1, "calls": 1}, "damaged-golden"),
        ({"0/sideways/x": ROWS}, {"format": 1, "calls": 1}, "damaged-golden"),
        ({"0/inputs/x": ROWS}, {"format": 2, "calls": 1}, "newer-format"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, tensors, meta, code):
    path = tmp_path / "golden.bin"
    path.write_bytes(encode_frame(tensors, meta))
    with pytest.raises(InvalidInput) as caught:
        golden.read(path)
    assert caught.value.code == code


@given(arrays.arrays(np.float64, (3, 2)), st.floats(0, 0.1))
def test_a_result_equals_itself_whatever_it_holds(array, tolerance):
    assert compare({"p": array}, {"p": array.copy()}, tolerance, tolerance).equal


@pytest.mark.parametrize(
    ("want", "got", "words"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), "p row 1: expected 2.0, got 2.1"),
        (np.array([[1.0, np.nan]]), np.array([[1.0, 0.0]]), "p row 0 column 1: expected nan, got 0.0"),
        (np.array([np.inf]), np.array([-np.inf]), "p row 0: expected inf, got -inf"),
        (np.array(["a", None], object), np.array(["a", "b"], object), "p row 1: expected None, got b"),
        (np.array([1, 2]), np.array([1.0, 2.0]), "p: expected INT64[2], got FP64[2]"),
        (np.array([1, 2]), np.array([1]), "p: expected INT64[2], got INT64[1]"),
    ],
)
def test_the_first_difference_is_named(want, got, words):
    assert str(compare({"p": want}, {"p": got}, 1e-4, 1e-5).first) == words


def test_a_missing_output_is_a_difference():
    assert str(compare({"p": np.array([1])}, {}, 0, 0).first) == "p: expected INT64[1], got no such output"


def test_evidence_tells_labels_from_scores():
    want = {"predictions": np.array([1, 0]), "probabilities": np.array([0.5, 0.25])}
    close = compare(want, {**want, "probabilities": np.array([0.5, 0.250001])}, 1e-4, 1e-5)
    assert close.equal and close.labels_equal and close.largest_difference == pytest.approx(1e-6)
    flipped = compare(want, {**want, "predictions": np.array([1, 1])}, 1e-4, 1e-5)
    assert not flipped.equal and not flipped.labels_equal


def test_an_equal_model_passes_and_is_measured(logistic):
    bundle, _ = logistic
    cost = golden.replay(load_model(bundle), bundle)
    assert cost.rows == len(ROWS) and cost.single_s > 0 and cost.batch_s > 0


def test_whoever_answers_meanwhile_is_let_in_before_each_run(logistic):
    bundle, _ = logistic
    model, happened = load_model(bundle), []
    run = model.run

    class Seen:
        def run(self, inputs):
            happened.append("run")
            return run(inputs)

    golden.replay(Seen(), bundle, pause=lambda: happened.append("pause"))
    # Each row alone, then all of them twice.
    assert happened == ["pause", "run"] * (len(ROWS) + 2)


def test_a_model_that_answers_otherwise_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    expected = ROWS.sum(axis=1).astype(np.float64)
    expected[5] += 1
    bundle = python_bundle(tmp_path, SUM, expected=expected)
    with pytest.raises(ModelFailed, match=r"golden row 5 alone: predictions row 0: expected .* got .*golden-mismatch"):
        golden.replay(load_model(bundle), bundle)


def test_rows_that_depend_on_their_neighbours_are_caught(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    centred = "class Model:\n    def predict(self, x):\n        return (x - x.mean()).sum(axis=1).astype('float64')\n"
    expected = (ROWS - ROWS.mean()).sum(axis=1).astype(np.float64)
    with pytest.raises(ModelFailed, match="alone"):
        golden.replay(load_model(bundle := python_bundle(tmp_path / "a", centred, expected=expected)), bundle)
    bundle = python_bundle(tmp_path / "b", centred, expected=expected, batched=False)
    golden.replay(load_model(bundle), bundle)


def test_a_model_that_is_not_deterministic_must_still_be_finite(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    noise = "import random\nclass Model:\n    def predict(self, x):\n        return x[:, 0].astype('float64') * {}\n"
    bundle = python_bundle(tmp_path / "a", noise.format("random.random()"), deterministic=False)
    golden.replay(load_model(bundle), bundle)
    bundle = python_bundle(tmp_path / "b", noise.format("float('nan')"), deterministic=False)
    with pytest.raises(ModelFailed, match="golden-mismatch"):
        golden.replay(load_model(bundle), bundle)


def test_an_unbatched_model_is_replayed_call_by_call(logistic):
    bundle, _ = logistic
    rows = golden.read(bundle.path("golden.bin"))[0]
    golden.write(bundle.directory / "golden.bin", [rows, rows])
    manifest = bundle.manifest
    signature = msgspec.structs.replace(manifest.signature, batched=False)
    whole = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(manifest, signature=signature))
    try:
        assert golden.replay(load_model(whole), whole).rows == 1
    finally:
        golden.write(bundle.directory / "golden.bin", [rows])
