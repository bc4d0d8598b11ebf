"""spaCy pipelines, trained on two sentences on the spot."""

import json

import numpy as np
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import InvalidInput, Unsupported
from penstock.pack import pack

spacy = pytest.importorskip("spacy")
training = pytest.importorskip("spacy.training")
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = np.array(["I love Oslo", "I hate Rome", "Oslo", "nothing at all"], object)


def _pipeline(kinds):
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    for kind, labels in kinds.items():
        part = nlp.add_pipe(kind)
        for label in labels:
            part.add_label(label)
    told = [("I love Oslo", "GOOD"), ("I hate Rome", "BAD")]
    examples = [
        training.Example.from_dict(
            nlp.make_doc(text),
            {"cats": {name: float(name == label) for name in ("GOOD", "BAD")}, "entities": [(7, 11, "CITY")]},
        )
        for text, label in told
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(15):
        nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def both():
    return _pipeline({"textcat": ["GOOD", "BAD"], "ner": ["CITY"]})


@pytest.fixture(scope="module")
def folder(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("spacy") / "pipeline"
    both.to_disk(path)
    return path


def test_labels_and_entities_are_the_pipeline_s_own(both, folder, tmp_path):
    manifest, model = served(pack(folder, name="m", out=tmp_path / "out"))
    assert (manifest.kind, manifest.served.runtime) == ("spacy.en[textcat,ner]", "spacy")
    assert manifest.signature.classes == ("GOOD", "BAD")
    assert manifest.batching.allowed
    answers = model.run({"text": TEXTS})
    for row, text in enumerate(TEXTS):
        want = both(text)
        assert np.allclose(answers["probabilities"][row], [want.cats["GOOD"], want.cats["BAD"]], atol=1e-5)
        found = [(e["text"], e["label"], e["start"], e["end"]) for e in json.loads(answers["entities"][row])]
        assert found == [(e.text, e.label_, e.start_char, e.end_char) for e in want.ents]
    assert answers["predictions"].tolist()[:2] == ["GOOD", "BAD"]
    assert json.loads(answers["entities"][0])[0]["text"] == "Oslo"


def test_a_live_pipeline(both, tmp_path):
    manifest, _ = served(pack(both, name="m", out=tmp_path / "out"))
    assert manifest.served.runtime == "spacy"


def test_labels_that_may_hold_together_have_probabilities_only(tmp_path):
    _pipeline({"textcat_multilabel": ["GOOD", "BAD"]}).to_disk(tmp_path / "several")
    manifest, _ = served(pack(tmp_path / "several", name="m", out=tmp_path / "out"))
    assert [(f.name, f.shape) for f in manifest.signature.outputs] == [("probabilities", (-1, 2))]


def test_what_serves_it_is_spacy(folder, tmp_path):
    pack(folder, name="m", out=tmp_path / "out")
    assert "\nspacy==" in (tmp_path / "out" / "requirements.txt").read_text()


def test_a_pipeline_without_answers_is_refused(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "plain")
    with pytest.raises(Unsupported, match="sentencizer"):
        pack(tmp_path / "plain", name="m", out=tmp_path / "out")


def test_a_part_that_is_not_installed_is_named(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "odd")
    config = tmp_path / "odd" / "config.cfg"
    config.write_text(config.read_text().replace('factory = "ner"', 'factory = "somebodys_ner"'))
    with pytest.raises(Unsupported, match="somebodys_ner"):
        pack(tmp_path / "odd", name="m", out=tmp_path / "out")


def test_a_damaged_pipeline_is_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "cut")
    (tmp_path / "cut" / "ner" / "model").write_bytes(b"no")
    with pytest.raises(InvalidInput) as caught:
        pack(tmp_path / "cut", name="m", out=tmp_path / "out")
    assert caught.value.code == "damaged-model"
