"""Results of statsmodels, as its own `save` writes them, under a waiver."""

import numpy as np
import pandas as pd
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import PenstockError, Refused
from penstock.pack import pack

sm = pytest.importorskip("statsmodels.api")
smf = pytest.importorskip("statsmodels.formula.api")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
DATA = pd.DataFrame(RNG.normal(size=(80, 2)), columns=["b", "a"])
DATA["y"] = 1 + 2 * DATA.a - DATA.b + RNG.normal(size=80) * 0.3
DATA["left"] = (DATA.y + RNG.normal(size=80) > 1).astype(int)
DATA["visits"] = RNG.poisson(np.exp(0.3 * DATA.a))
DATA["size"] = np.exp(0.1 * DATA.y) + 1
INPUTS = DATA[["b", "a"]]
WITH_CONST = sm.add_constant(INPUTS)

CONVERTED = {
    "ols by formula": lambda: (smf.ols("y ~ a + b", DATA).fit(), INPUTS),
    "ols on a table": lambda: (sm.OLS(DATA.y, WITH_CONST).fit(), WITH_CONST),
    "ols on an array": lambda: (sm.OLS(DATA.y.to_numpy(), WITH_CONST.to_numpy()).fit(), WITH_CONST.to_numpy()),
    "wls": lambda: (smf.wls("y ~ a + b", DATA, weights=DATA["size"]).fit(), INPUTS),
    "logit": lambda: (smf.logit("left ~ a + b", DATA).fit(disp=0), INPUTS),
    "poisson": lambda: (smf.poisson("visits ~ a + b", DATA).fit(disp=0), INPUTS),
    "glm, binomial": lambda: (smf.glm("left ~ a + b", DATA, family=sm.families.Binomial()).fit(), INPUTS),
    "glm, gamma": lambda: (
        smf.glm("size ~ a + b", DATA, family=sm.families.Gamma(sm.families.links.Log())).fit(), INPUTS,
    ),
}  # fmt: skip
SERVED_AS_THEY_ARE = {
    "probit": (lambda: (smf.probit("left ~ a + b", DATA).fit(disp=0), INPUTS), "Probit"),
    "a formula that computes": (lambda: (smf.ols("y ~ np.exp(a) + b", DATA).fit(), INPUTS), "computes with columns"),
    "several outcomes": (
        lambda: (sm.MNLogit(DATA.left + (DATA.a > 1), WITH_CONST).fit(disp=0), WITH_CONST),
        "converter",
    ),
}


def _file(results, tmp_path):
    results.save(str(tmp_path / "model.pickle"))
    return tmp_path / "model.pickle"


def _inputs(manifest, rows):
    if manifest.signature.layout == "matrix":
        return {"x": rows}
    return {field.name: rows[field.name].to_numpy() for field in manifest.signature.inputs}


@pytest.mark.parametrize("case", CONVERTED)
def test_a_line_becomes_onnx(case, tmp_path):
    results, rows = CONVERTED[case]()
    manifest, model = served(pack(_file(results, tmp_path), rows, name="m", out=tmp_path / "out", allow_pickle="ours"))
    assert (manifest.original.runtime, manifest.served.runtime) == ("statsmodels", "onnx")
    assert manifest.waiver.reason == "ours"
    assert manifest.evidence.converter["statsmodels"]
    assert np.allclose(model.run(_inputs(manifest, rows))["predictions"], results.predict(rows), rtol=1e-6)


@pytest.mark.parametrize("case", SERVED_AS_THEY_ARE)
def test_what_does_not_convert_is_served_as_it_is(case, tmp_path):
    make, why = SERVED_AS_THEY_ARE[case]
    results, rows = make()
    packed = pack(_file(results, tmp_path), rows, name="m", out=tmp_path / "out", allow_pickle="ours")
    manifest, model = served(packed, allow_pickle=True)
    assert manifest.served.runtime == "statsmodels"
    assert why in manifest.evidence.reason
    assert np.allclose(model.run(_inputs(manifest, rows))["predictions"], results.predict(rows))


def test_live_results_are_packed_under_a_waiver(tmp_path):
    results, rows = CONVERTED["logit"]()
    manifest, _ = served(pack(results, rows, name="m", out=tmp_path / "out", allow_pickle="ours"))
    assert (manifest.original.serialization, manifest.served.runtime) == ("pickle", "onnx")


def test_without_a_waiver_they_are_refused(tmp_path):
    results, rows = CONVERTED["logit"]()
    for model in (results, _file(results, tmp_path)):
        with pytest.raises(Refused) as caught:
            pack(model, rows, name="m", out=tmp_path / "out")
        assert caught.value.code == "pickle-refused"


def test_a_sample_without_a_column_is_refused(tmp_path):
    results, _ = CONVERTED["ols on a table"]()
    with pytest.raises(PenstockError, match="'const'"):
        pack(_file(results, tmp_path), INPUTS, name="m", out=tmp_path / "out", allow_pickle="ours")


def test_results_without_their_data_are_enough(tmp_path):
    results, rows = CONVERTED["ols by formula"]()
    want = results.predict(rows)
    results.save(str(tmp_path / "model.pickle"), remove_data=True)
    packed = pack(tmp_path / "model.pickle", rows, name="m", out=tmp_path / "out", allow_pickle="ours")
    _, model = served(packed, allow_pickle=True)
    assert np.allclose(model.run({name: rows[name].to_numpy() for name in rows})["predictions"], want)
