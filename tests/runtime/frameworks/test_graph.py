"""A graph answers each row as if it were alone, whatever batch it is in; and says whose fault a bad value is."""

import textwrap

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import InvalidInput, ModelFailed, Refused
from penstock.pack import graph, pack
from penstock.runtime.frameworks.graph import load
from penstock.runtime.load import load_model

ROWS = pd.DataFrame({"x": np.linspace(-5, 5, 60), "kind": ["a", "b", "c", None] * 15})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph")
    for name, factor in (("double", 2.0), ("minus", -1.0), ("half", 0.5), ("ten", 10.0)):
        model = LinearRegression().fit(ROWS[["x"]], ROWS["x"] * factor)
        pack(model, ROWS[["x"]], name=name, out=path / f"{name}.penstock")
    steps = [
        {"switch": {"on": "kind", "cases": [
            {"when": {"equals": "a"}, "step": {"bundle": "double.penstock"}},
            {"when": {"in": ["b", "z"]}, "step": {"bundle": "minus.penstock"}},
        ], "otherwise": {"ensemble": {"members": [{"bundle": "half.penstock"}, {"bundle": "ten.penstock"}],
                                      "weights": [3, 1]}}}},
    ]  # fmt: skip
    whole = graph(steps, ROWS, name="flow", base=path, out=path / "flow")
    return path, verify_directory(whole.path, whole.digest)


@pytest.fixture(scope="module")
def model(packed):
    return load_model(packed[1])


ROW = st.tuples(st.floats(-1e3, 1e3), st.sampled_from(["a", "b", "z", "c", "", None]))


@given(st.lists(ROW, min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_each_row_gets_its_own_answer_in_every_batch(model, rows):
    xs, kinds = zip(*rows, strict=True)
    inputs = {"kind": np.array(kinds, object), "x": np.array(xs)}
    got = model.run(inputs)["predictions"]
    factor = {"a": 2.0, "b": -1.0, "z": -1.0}
    want = [x * factor.get(kind, (3 * 0.5 + 10) / 4) for x, kind in rows]
    assert np.allclose(got, want, rtol=1e-3, atol=1e-2)
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    again = model.run({name: array[order] for name, array in inputs.items()})["predictions"]
    assert np.allclose(again, got[order], rtol=1e-6, atol=1e-6)
    assert got.dtype == again.dtype


def test_the_caller_is_blamed_for_his_values_and_a_step_for_its_own(packed, tmp_path):
    path, _ = packed
    (path / "root.py").write_text(textwrap.dedent("""
        import numpy as np
        class Root:
            def predict(self, x):
                with np.errstate(invalid="ignore"):
                    return {"x": np.sqrt(x["z"])}
    """))  # fmt: skip
    steps = [{"python": "root.py:Root"}, {"bundle": "double.penstock"}]
    sample = pd.DataFrame({"z": np.linspace(1, 9, 30)})
    whole = graph(steps, sample, name="m", base=path, out=tmp_path / "m")
    flow = load_model(verify_directory(whole.path, whole.digest))
    assert np.allclose(flow.run({"z": np.array([4.0])})["predictions"], [4.0], atol=1e-3)
    with pytest.raises(ModelFailed) as failed:
        flow.run({"z": np.array([-4.0])})
    assert failed.value.code == "step-refused"
    only = graph([{"bundle": "double.penstock"}], sample.rename(columns={"z": "x"}), name="m", base=path,
                 out=tmp_path / "only")  # fmt: skip
    with pytest.raises(InvalidInput, match="step 'double'"):
        load_model(verify_directory(only.path, only.digest)).run({"x": np.array([np.nan])})


def test_a_graph_with_code_that_claims_to_have_none_is_not_run(packed, tmp_path):
    path, _ = packed
    (path / "same.py").write_text("class Same:\n    def predict(self, x):\n        return {'x': x['x']}\n")
    whole = graph([{"python": "same.py:Same"}], ROWS[["x"]], name="m", base=path, out=tmp_path / "m")
    bundle = verify_directory(whole.path, whole.digest)
    served = bundle.manifest.served
    with pytest.raises(Refused, match="tampered-bundle"):
        load(bundle.path(served.path), served, bundle.manifest.signature, no_code=True)
