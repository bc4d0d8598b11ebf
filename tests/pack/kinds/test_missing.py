"""A package that is not installed is named when the model is packed, with the extra that brings it."""

import importlib.util
import zipfile

import pytest

from penstock.core.errors import Unavailable, Unsupported
from penstock.pack import pack

FILES = {
    "torch": ("m.pt2",),
    "tensorflow": ("m/saved_model.pb",),
    "tflite": ("m.tflite",),
    "huggingface": ("m/config.json", "m/tokenizer.json", "m/model.safetensors"),
    "spacy": ("m/meta.json", "m/config.cfg"),
}
MODULES = {"tflite": "ai_edge_litert", "huggingface": "tokenizers"}


@pytest.mark.parametrize("kind", FILES)
def test_the_extra_is_named(kind, tmp_path):
    if importlib.util.find_spec(MODULES.get(kind, kind)):
        pytest.skip("it is installed here")
    for name in FILES[kind]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith(".json"):
            (tmp_path / name).write_text("{}")
        else:
            zipfile.ZipFile(tmp_path / name, "w").close()
    with pytest.raises(Unavailable) as caught:
        pack(tmp_path / FILES[kind][0].partition("/")[0], name="m", out=tmp_path / "out")
    assert caught.value.code == "module-missing"
    assert MODULES.get(kind, kind) in caught.value.message
    assert f"penstock[pack,{kind}]" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_pickle_of_a_missing_library_names_its_extra(tmp_path):
    if importlib.util.find_spec("statsmodels"):
        pytest.skip("it is installed here")
    (tmp_path / "m.pickle").write_bytes(b"cstatsmodels.api\nOLS\n.")
    with pytest.raises(Unavailable) as caught:
        pack(tmp_path / "m.pickle", [[1.0]], name="m", out=tmp_path / "out", allow_pickle="ours")
    assert "penstock[pack,statsmodels]" in caught.value.hint


def test_a_folder_that_is_no_model_says_which_are(tmp_path):
    with pytest.raises(Unsupported) as caught:
        pack(tmp_path, name="m", out=tmp_path / "out")
    assert caught.value.code == "unknown-model-file"
    assert "SavedModel" in caught.value.hint
