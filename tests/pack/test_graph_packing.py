"""Graphs of bundles: every kind of step, packed into one bundle and proven against its steps run by hand."""

import textwrap

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import RadiusNeighborsClassifier

import penstock
from penstock.bundle.bundle import open_bundle, verify_directory
from penstock.core.errors import InvalidInput, ModelFailed, PenstockError, Refused
from penstock.pack import graph, pack
from penstock.runtime import golden
from penstock.runtime.load import load_model
from penstock.serving.load import runs_inline

RNG = np.random.default_rng(7)
ROWS = pd.DataFrame({"a": RNG.normal(size=90), "b": RNG.normal(size=90), "region": ["eu", "us", "asia"] * 30})
LABELS = (ROWS["a"] + ROWS["b"] > 0).astype(int)

RATIO = """
    import numpy as np

    class Ratio:
        def predict(self, x):
            return {"a": x["a"] * 2.0, "b": x["b"] - 1.0}
"""
TEXT = """
    class Text:
        def predict(self, x):
            return {"verdict": [f"{p:.2f}" for p in x["probabilities"][:, 1]], "sure": x["probabilities"].max(axis=1)}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("steps")
    models = {
        "one": LogisticRegression().fit(ROWS[["a", "b"]], LABELS),
        "two": LogisticRegression(C=0.01).fit(ROWS[["a", "b"]], LABELS),
        "three": LogisticRegression().fit(ROWS[["a"]], LABELS),
    }
    for name, model in models.items():
        sample = ROWS[list(model.feature_names_in_)]
        pack(model, sample, name=name, out=path / f"{name}.penstock")
    (path / "ratio.py").write_text(textwrap.dedent(RATIO))
    (path / "text.py").write_text(textwrap.dedent(TEXT))
    return path, models


def _open(packed, tmp_path):
    bundle = open_bundle(packed.path, tmp_path / "cache")
    model = load_model(bundle)
    golden.replay(model, bundle)
    return bundle, model


def _inputs(rows, names):
    return {name: rows[name].to_numpy() for name in names}


def test_a_file_with_python_before_and_after(folder, tmp_path):
    path, models = folder
    (path / "graph.yaml").write_text(
        "graph: 1\nsteps:\n- python: ratio.py:Ratio\n  inputs: [a, b]\n- bundle: one.penstock\n"
        "- python: text.py:Text\n  inputs: [probabilities]\n"
    )
    packed = pack(path / "graph.yaml", ROWS[["a", "b"]], name="flow", out=tmp_path / "flow.penstock")
    manifest = packed.manifest
    assert (manifest.kind, manifest.served.runtime, manifest.builtin_operators) == ("graph", "graph", False)
    assert list(manifest.lineage.parameters["steps"]) == ["ratio", "one", "text"]
    assert manifest.evidence.rows_compared == 90
    assert manifest.batching.allowed
    bundle, model = _open(packed, tmp_path)
    assert not runs_inline(bundle, "auto")
    want = models["one"].predict_proba(pd.DataFrame({"a": ROWS["a"] * 2, "b": ROWS["b"] - 1}))
    got = model.run(_inputs(ROWS, ["a", "b"]))
    assert np.allclose(got["sure"], want.max(axis=1), atol=1e-5)
    assert list(got) == ["verdict", "sure"]
    again = pack(path / "graph.yaml", ROWS[["a", "b"]], name="flow", out=tmp_path / "again.penstock")
    assert again.digest == packed.digest


def test_a_switch_sends_each_row_where_it_belongs_and_runs_inline(folder, tmp_path):
    path, models = folder
    steps = [{"switch": {"on": "region", "cases": [
        {"when": {"equals": "eu"}, "step": {"bundle": "one.penstock"}},
        {"when": {"in": ["us", "mars"]}, "step": {"bundle": "two.penstock"}},
    ], "otherwise": {"bundle": "three.penstock"}}}]  # fmt: skip
    packed = penstock.graph(steps, ROWS, name="flow", base=path, out=tmp_path / "flow.penstock")
    bundle, model = _open(packed, tmp_path)
    assert runs_inline(bundle, "auto")
    assert bundle.manifest.signature.classes == (0, 1)
    assert {field.name: field.datatype for field in bundle.manifest.signature.inputs} == {
        "region": "BYTES", "a": "FP64", "b": "FP64"
    }  # fmt: skip
    got = model.run(_inputs(ROWS, ["a", "b", "region"]))["probabilities"]
    for region, name in (("eu", "one"), ("us", "two"), ("asia", "three")):
        here = (ROWS["region"] == region).to_numpy()
        want = models[name].predict_proba(ROWS.loc[here, list(models[name].feature_names_in_)])
        assert np.allclose(got[here], want, atol=1e-5)


def test_ensembles(folder, tmp_path):
    path, models = folder
    members = [{"bundle": f"{name}.penstock"} for name in ("one", "two", "three")]
    scores = [models[n].predict_proba(ROWS[list(models[n].feature_names_in_)]) for n in ("one", "two", "three")]
    inputs = _inputs(ROWS, ["a", "b"])
    mean = graph([{"ensemble": {"members": members, "weights": [1, 2, 5]}}], ROWS[["a", "b"]], name="mean", base=path,
                 out=tmp_path / "mean.penstock")  # fmt: skip
    got = _open(mean, tmp_path)[1].run(inputs)
    want = np.average(scores, axis=0, weights=[1, 2, 5])
    assert np.allclose(got["probabilities"], want, atol=1e-5)
    assert np.array_equal(got["predictions"], want.argmax(axis=1))
    voters = [{**member, "outputs": ["predictions"]} for member in members]
    vote = graph([{"ensemble": {"members": voters, "combine": "vote"}}], name="vote", base=path,
                 out=tmp_path / "vote.penstock")  # fmt: skip
    assert vote.manifest.golden.synthetic
    got = _open(vote, tmp_path)[1].run(inputs)
    assert np.array_equal(got["predictions"], np.sum([s.argmax(axis=1) for s in scores], axis=0) >= 2)


def test_a_python_step_combines_members_that_are_kept_apart(folder, tmp_path):
    path, models = folder
    (path / "spread.py").write_text(
        "class Spread:\n    def predict(self, x):\n        return {'spread': abs(x['p'] - x['q'])[:, 1]}\n"
    )
    steps = [
        {"ensemble": {"members": [{"bundle": "one.penstock"}, {"bundle": "two.penstock"}], "combine": "each"}},
        {"python": "spread.py:Spread", "inputs": {"p": "one.probabilities", "q": "two.probabilities"}},
    ]
    packed = graph(steps, ROWS[["a", "b"]], name="spread", base=path, out=tmp_path / "m.penstock")
    got = _open(packed, tmp_path)[1].run(_inputs(ROWS, ["a", "b"]))["spread"]
    want = models["one"].predict_proba(ROWS[["a", "b"]]) - models["two"].predict_proba(ROWS[["a", "b"]])
    assert np.allclose(got, abs(want[:, 1]), atol=1e-5)


def test_a_switch_on_what_a_step_gives(folder, tmp_path):
    path, models = folder
    steps = [
        {"bundle": "three.penstock", "outputs": {"predictions": "first"}},
        {"switch": {"on": "first", "cases": [{"when": {"at_least": 1}, "step": {"bundle": "one.penstock"}}],
                    "otherwise": {"bundle": "two.penstock"}}},
    ]  # fmt: skip
    packed = graph(steps, ROWS[["a", "b"]], name="flow", base=path, out=tmp_path / "m.penstock")
    got = _open(packed, tmp_path)[1].run(_inputs(ROWS, ["a", "b"]))["probabilities"][:, 1]
    first = models["three"].predict(ROWS[["a"]])
    want = [models[n].predict_proba(ROWS[["a", "b"]])[:, 1] for n in ("one", "two")]
    assert np.allclose(got, np.where(first == 1, *want), atol=1e-5)


def test_a_step_that_looks_at_its_neighbours_forbids_batching_or_is_found_out(folder, tmp_path):
    path, _ = folder
    (path / "centred.py").write_text(
        "class Centred:\n    def predict(self, x):\n        return {'c': x['a'] - x['a'].mean()}\n"
    )
    with pytest.raises(ModelFailed) as refused:
        graph([{"python": "centred.py:Centred"}], ROWS[["a"]], name="m", base=path, out=tmp_path / "m.penstock")
    assert refused.value.code == "graph-differs"
    assert not (tmp_path / "m.penstock").exists()


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([], "invalid-graph"),
        ([{"bundle": "one.penstock", "python": "x.py:X"}], "invalid-graph"),
        ([{"bundle": "one.penstock"}, {"bundle": "one.penstock"}], "invalid-graph"),
        ([{"bundle": "one.penstock", "input": ["a"]}], "invalid-graph"),
        ([{"ensemble": {"members": [{"bundle": "one.penstock"}], "weights": [0]}}], "invalid-graph"),
        ([{"switch": {"on": "a", "cases": [], "otherwise": {"bundle": "one.penstock"}}}], "invalid-graph"),
        ([{"bundle": "../nothing.penstock"}], "unknown-bundle"),
        ([{"bundle": "one.penstock", "inputs": {"z": "a"}}], "graph-mismatch"),
        ([{"bundle": "one.penstock"}, {"bundle": "two.penstock", "inputs": {"a": "probabilities"}}], "graph-mismatch"),
        ([{"ensemble": {"members": [{"bundle": "one.penstock"}, {"bundle": "two.penstock", "outputs": ["predictions"]}]}}], "graph-mismatch"),  # noqa: E501
        ([{"ensemble": {"members": [{"bundle": "one.penstock"}], "combine": "vote"}}], "graph-mismatch"),
        ([{"switch": {"on": "nobody", "cases": [{"when": {"below": 1}, "step": {"bundle": "one.penstock"}}], "otherwise": {"bundle": "two.penstock"}}}], "graph-mismatch"),  # noqa: E501
        ([{"python": "ratio.py:Ratio"}], "sample-missing"),
    ],
)  # fmt: skip
def test_graphs_that_make_no_sense(steps, code, folder, tmp_path):
    with pytest.raises(PenstockError) as refused:
        graph(steps, name="m", base=folder[0], out=tmp_path / "m.penstock")
    assert refused.value.code == code


def test_a_step_that_no_row_reaches_cannot_be_packed(folder, tmp_path):
    steps = [{"switch": {"on": "a", "cases": [{"when": {"above": 99}, "step": {"python": "ratio.py:Ratio"}}],
                         "otherwise": {"python": "ratio.py:Ratio", "name": "other"}}}]  # fmt: skip
    with pytest.raises(InvalidInput, match="reaches step 'ratio'"):
        graph(steps, ROWS[["a", "b"]], name="m", base=folder[0], out=tmp_path / "m.penstock")


def test_a_pickle_inside_needs_a_waiver_and_is_refused_where_pickles_are(folder, tmp_path):
    path, _ = folder
    import joblib

    joblib.dump(RadiusNeighborsClassifier(9.0).fit(ROWS[["a", "b"]], LABELS), tmp_path / "m.joblib")
    pack(tmp_path / "m.joblib", ROWS[["a", "b"]], name="near", out=path / "near.penstock", allow_pickle="ours")
    steps = [{"bundle": "near.penstock"}]
    with pytest.raises(Refused, match="pickle-refused"):
        graph(steps, ROWS[["a", "b"]], name="m", base=path, out=tmp_path / "m.penstock")
    packed = graph(steps, ROWS[["a", "b"]], name="m", base=path, out=tmp_path / "m.penstock", allow_pickle="ours")
    assert packed.manifest.waiver.reason == "step near: ours"
    with pytest.raises(Refused, match="pickle-refused"):
        load_model(open_bundle(packed.path, tmp_path / "cache"))


def test_a_step_that_was_changed_is_found(folder, tmp_path):
    packed = graph([{"bundle": "one.penstock"}], name="m", base=folder[0], out=tmp_path / "m")
    step = packed.path / "original/steps/one/manifest.json"
    assert "original/steps/one/manifest.json" in packed.manifest.files
    step.write_bytes(step.read_bytes() + b" ")
    with pytest.raises(Refused, match="tampered-bundle"):
        verify_directory(packed.path, packed.digest)
