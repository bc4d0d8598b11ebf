"""Hugging Face folders, made on the spot: random weights and a vocabulary of sixty words."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import InvalidInput, Refused, Unsupported
from penstock.pack import pack

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
# PyTorch's exporter warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"{a}{b}" for a in "bdgkmnst" for b in "aeiou")]
TEXTS = np.array(["ba de", "so", "ga ge gi go gu ka ke ki ko ku", "unknown words", ""], object)


def _tokenizer():
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(WORDS[:4])
    return made


def _folder(path, kind, **config):
    torch.manual_seed(1)
    shape = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 24, "max_position_embeddings": 32, "initializer_range": 0.5}  # fmt: skip
    kind(transformers.BertConfig(**{**shape, **config})).eval().save_pretrained(path)
    _tokenizer().save(str(path / "tokenizer.json"))
    return path


def _sentence_folder(path, **pooling):
    _folder(path, transformers.BertModel)
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    modules = [
        {"idx": n, "type": f"sentence_transformers.models.{kind}", "path": at} for n, (kind, at) in enumerate(kinds)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return _folder(folder, transformers.BertForSequenceClassification, id2label={0: "bad", 1: "good", 2: "so so"})


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return _sentence_folder(tmp_path_factory.mktemp("sentences"))


@pytest.fixture(scope="module")
def packed_sentences(sentences, tmp_path_factory):
    return pack(sentences, name="m", out=tmp_path_factory.mktemp("out") / "bundle")


def _network(folder, kind):
    return kind.from_pretrained(folder).eval()


def _ids(text, most=30):
    encoding = _tokenizer().encode(text)
    ids = encoding.ids if len(encoding.ids) <= most else [*encoding.ids[: most - 1], 3]
    return torch.tensor([ids])


def test_a_classifier_of_texts_is_served_as_onnx_with_its_tokenizer(classifier, tmp_path):
    packed = pack(classifier, name="m", out=tmp_path / "out")
    manifest, model = served(packed)
    assert manifest.kind == "huggingface.BertForSequenceClassification"
    assert (manifest.served.runtime, manifest.served.serialization) == ("huggingface", "onnx")
    assert manifest.evidence.converted
    assert manifest.evidence.rows_compared >= 64
    assert manifest.batching.allowed
    assert manifest.golden.synthetic
    assert manifest.signature.classes == ("bad", "good", "so so")
    network = _network(classifier, transformers.BertForSequenceClassification)
    answers = model.run({"text": TEXTS})
    for row, text in enumerate(TEXTS):
        want = torch.softmax(network(_ids(text)).logits, 1)[0].detach().numpy()
        assert np.allclose(answers["probabilities"][row], want, atol=1e-5)
        assert answers["predictions"][row] == ["bad", "good", "so so"][want.argmax()]


def test_what_serves_a_converted_model_is_neither_torch_nor_transformers(packed_sentences):
    lock = (packed_sentences.path / "requirements.txt").read_text()
    names = {line.partition("==")[0] for line in lock.splitlines()}
    assert {"tokenizers", "onnxruntime", "numpy"} <= names
    assert not names & {"torch", "transformers", "safetensors"}


def test_an_embedding_is_the_mean_of_the_tokens_at_length_one(packed_sentences, sentences):
    manifest, model = served(packed_sentences)
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.inputs] == [("text", "BYTES", (-1,))]
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.outputs] == [
        ("embedding", "FP32", (-1, 16)), ("tokens", "INT64", (-1,)),
    ]  # fmt: skip
    network = _network(sentences, transformers.BertModel)
    answers = model.run({"text": TEXTS})
    for row, text in enumerate(TEXTS):
        mean = network(_ids(text)).last_hidden_state[0].mean(0)
        assert np.allclose(answers["embedding"][row], (mean / mean.norm()).detach().numpy(), atol=1e-5)
    assert answers["tokens"].tolist() == [4, 3, 12, 4, 2]


def test_a_long_text_is_cut_where_the_folder_says(packed_sentences):
    _, model = served(packed_sentences)
    long, cut = " ".join(["ba"] * 40), " ".join(["ba"] * 14)
    answers = model.run({"text": np.array([long, cut], object)})
    assert answers["tokens"].tolist() == [16, 16]
    assert np.allclose(*answers["embedding"], atol=1e-6)


@pytest.mark.parametrize(
    ("said", "pool"),
    [
        ({"pooling_mode_cls_token": True}, lambda tokens: tokens[0]),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, lambda tokens: tokens.amax(0)),
        ({"pooling_mode": "lasttoken"}, lambda tokens: tokens[-1]),
    ],
)
def test_vectors_are_pooled_as_the_folder_says(said, pool, tmp_path):
    folder = _sentence_folder(tmp_path, **said)
    _, model = served(pack(folder, name="m", out=tmp_path / "out", convert=False))
    network = _network(folder, transformers.BertModel)
    answers = model.run({"text": TEXTS})
    for row, text in enumerate(TEXTS):
        vector = pool(network(_ids(text)).last_hidden_state[0])
        assert np.allclose(answers["embedding"][row], (vector / vector.norm()).detach().numpy(), atol=1e-5)


def test_a_sample_of_texts_is_compared_on_and_none_of_it_is_kept(sentences, tmp_path):
    sample = pd.DataFrame({"review": [f"ba de {word} secret{n}" for n, word in enumerate(WORDS[4:])]})
    manifest, _ = served(pack(sentences, sample, name="m", out=tmp_path / "out"))
    assert manifest.evidence.rows_compared == len(sample)
    assert manifest.golden.synthetic
    kept = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert b"secret1" not in kept


def test_entities_are_found_with_their_places(tmp_path):
    labels = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}
    folder = _folder(tmp_path, transformers.BertForTokenClassification, id2label=labels)
    manifest, model = served(pack(folder, name="m", out=tmp_path / "out"))
    assert manifest.evidence.converted
    network = _network(folder, transformers.BertForTokenClassification)
    text = "ga ge gi go gu ka ke ki ko ku"
    (entities,) = model.run({"text": np.array([text], object)})["entities"]
    best = network(_ids(text)).logits[0].argmax(1).tolist()[1:-1]
    covered = {text[e["start"] : e["end"]]: e["label"] for e in json.loads(entities)}
    assert all(entity["text"] == text[entity["start"] : entity["end"]] for entity in json.loads(entities))
    named = [word for word, label in zip(text.split(), best, strict=True) if label]
    assert " ".join(covered).split() == named


@pytest.mark.parametrize(
    ("config", "outputs"),
    [
        ({"num_labels": 1, "problem_type": "regression"}, {"predictions": ("FP32", (-1,))}),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, {"probabilities": ("FP32", (-1, 3))}),
    ],
)
def test_scores_without_one_best_label(config, outputs, tmp_path):
    folder = _folder(tmp_path, transformers.BertForSequenceClassification, **config)
    manifest, _ = served(pack(folder, name="m", out=tmp_path / "out", convert=False))
    assert {f.name: (f.datatype, f.shape) for f in manifest.signature.outputs} == outputs


def test_a_folder_with_onnx_needs_no_torch(packed_sentences, sentences, tmp_path):
    folder = tmp_path / "given"
    shutil.copytree(sentences, folder)
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    shutil.copy(packed_sentences.path / "served" / "model.onnx", folder / "onnx")
    manifest, model = served(pack(folder, name="m", out=tmp_path / "out"))
    assert manifest.evidence.reason == "the model was given as ONNX"
    assert manifest.served.path == "original/model.onnx"
    assert "torch" not in (tmp_path / "out" / "requirements.txt").read_text()
    _, before = served(packed_sentences)
    assert np.array_equal(model.run({"text": TEXTS})["embedding"], before.run({"text": TEXTS})["embedding"])


def _changed(folder, tmp_path, file, **change):
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), **change}))
    return copy


def test_code_of_the_author_is_refused(classifier, tmp_path):
    folder = _changed(classifier, tmp_path, "config.json", auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(Refused) as caught:
        pack(folder, name="m", out=tmp_path / "out")
    assert caught.value.code == "model-with-code"


def test_a_task_that_is_not_done_is_named(classifier, tmp_path):
    folder = _changed(classifier, tmp_path, "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(Unsupported, match="BertForMaskedLM"):
        pack(folder, name="m", out=tmp_path / "out")


def test_a_folder_without_a_tokenizer_says_how_to_write_it(classifier, tmp_path):
    shutil.copytree(classifier, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()
    with pytest.raises(Unsupported) as caught:
        pack(tmp_path / "copy", name="m", out=tmp_path / "out")
    assert "save_pretrained" in caught.value.hint


def test_weights_that_are_only_a_pickle_are_refused(classifier, tmp_path):
    shutil.copytree(classifier, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(Refused) as caught:
        pack(tmp_path / "copy", name="m", out=tmp_path / "out")
    assert caught.value.code == "pickle-refused"


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors", "config.json"])
def test_damaged_files_are_refused(file, classifier, tmp_path):
    shutil.copytree(classifier, tmp_path / "copy")
    (tmp_path / "copy" / file).write_bytes(b"{]")
    with pytest.raises(InvalidInput) as caught:
        pack(tmp_path / "copy", name="m", out=tmp_path / "out")
    assert caught.value.code == "damaged-model"
