"""Hugging Face folders that classify images, made on the spot: random weights, small pictures, a real node."""

import base64
import io
import json
import shutil
import tempfile
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from tests.pack.kinds.served import served
from tests.serving.nodes import RunningNode, document, endpoint

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import Unsupported
from penstock.core.tensors import to_bytes
from penstock.pack import pack
from penstock.runtime.frameworks.huggingface import open_estimator

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
PIL_Image = pytest.importorskip("PIL.Image")
huggingface = import_module("penstock.pack.flavors.huggingface")
pytestmark = pytest.mark.filterwarnings("ignore")

LABELS = {0: "cat", 1: "dog", 2: "newt"}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 32,
       "patch_size": 8, "initializer_range": 0.5}  # fmt: skip
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2,
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.6, 0.7],
}  # fmt: skip


def vit(path, processor=PROCESSOR, **config):
    torch.manual_seed(1)
    made = transformers.ViTForImageClassification(transformers.ViTConfig(**{**VIT, "id2label": LABELS, **config}))
    made.eval().save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def convnext(path):
    torch.manual_seed(1)
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], id2label=LABELS, initializer_range=0.5
    )
    transformers.ConvNextForImageClassification(config).eval().save_pretrained(path)
    processor = {**PROCESSOR, "image_processor_type": "ConvNextImageProcessor", "size": 64, "crop_pct": 0.875}
    (path / "preprocessor_config.json").write_text(json.dumps({**processor, "resample": 3}))
    return path


def unpacked(folder):
    """What would be served without a conversion, and its description."""
    opened = open_estimator(folder / "model.safetensors")
    about = huggingface.describe(opened)
    return about.declared, huggingface.adapt(opened, {}, about.declared)


def picture(height, width, seed=0, mode="RGB"):
    colours = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    return PIL_Image.fromarray(colours, "RGBA").convert(mode)


def file_of(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def objects(*values):
    out = np.empty(len(values), object)
    out[:] = values
    return out


def expected(folder, image):
    """Scores by transformers' own preparation and network."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return torch.softmax(network(**processor(image, return_tensors="pt")).logits, 1)[0].numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    return pack(folder, name="m", out=tmp_path_factory.mktemp("out") / "bundle")


@pytest.fixture(scope="module")
def model(packed):
    return served(packed)[1]


def test_a_folder_becomes_onnx_that_needs_neither_torch_nor_transformers(packed):
    manifest, _ = served(packed)
    assert manifest.kind == "huggingface.ViTForImageClassification"
    assert (manifest.served.runtime, manifest.served.serialization) == ("huggingface", "onnx")
    assert manifest.evidence.converted
    assert manifest.batching.allowed
    assert manifest.golden.synthetic
    assert not manifest.text_only
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.inputs] == [("image", "BYTES", (-1,))]
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.outputs] == [
        ("predictions", "BYTES", (-1,)), ("probabilities", "FP32", (-1, 3)),
    ]  # fmt: skip
    names = {line.partition("==")[0] for line in (packed.path / "requirements.txt").read_text().splitlines()}
    assert {"pillow", "onnxruntime", "numpy"} <= names
    assert not names & {"torch", "transformers", "tokenizers"}


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "P"), ("JPEG", "RGB"), ("JPEG", "CMYK")]
)
@pytest.mark.parametrize("text", [False, True], ids=["bytes", "base64"])
def test_it_answers_what_transformers_answers(model, folder, kind, mode, text):
    data = file_of(picture(48, 70, mode=mode), kind)
    want = expected(folder, PIL_Image.open(io.BytesIO(data)).convert("RGB"))
    answers = model.run({"image": objects(base64.b64encode(data).decode() if text else data)})
    assert np.allclose(answers["probabilities"][0], want, atol=1e-5)
    assert answers["predictions"][0] == LABELS[want.argmax()]


def test_rows_of_different_pictures_keep_their_order(model, folder):
    images = [picture(20 + n, 90 - 3 * n, seed=n) for n in range(19)]
    answers = model.run({"image": objects(*map(file_of, images))})
    for row, image in enumerate(images):
        assert np.allclose(answers["probabilities"][row], expected(folder, image), atol=1e-5)


def test_a_convolutional_network_whose_pictures_are_cut(tmp_path):
    folder = convnext(tmp_path)
    manifest, model = served(pack(folder, name="m", out=tmp_path / "out"))
    assert manifest.evidence.converted
    for seed, (height, width) in enumerate([(200, 90), (64, 64), (30, 120), (91, 90)]):
        image = picture(height, width, seed)
        answers = model.run({"image": objects(file_of(image))})
        assert np.allclose(answers["probabilities"][0], expected(folder, image), atol=1e-5)


def test_scaled_by_the_shorter_edge_then_cut_and_padded(tmp_path):
    processor = {**PROCESSOR, "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 24},
                 "do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_normalize": False}  # fmt: skip
    folder = vit(tmp_path, processor)
    _, model = unpacked(folder)
    for height, width in ((50, 200), (201, 50), (24, 31)):
        image = picture(height, width)
        answers = model.run({"image": objects(file_of(image))})
        assert np.allclose(answers["probabilities"][0], expected(folder, image), atol=1e-5)


def test_a_photograph_is_turned_as_the_camera_was_held(model):
    upright = picture(40, 60)
    exif = PIL_Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to see it upright
    lying = file_of(upright.transpose(PIL_Image.Transpose.ROTATE_90), exif=exif)
    answers = model.run({"image": objects(file_of(upright), lying)})
    assert np.allclose(*answers["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "outputs"),
    [
        ({"problem_type": "multi_label_classification"}, {"probabilities": ("FP32", (-1, 3))}),
        ({"problem_type": "regression", "id2label": {0: "age"}}, {"predictions": ("FP32", (-1,))}),
    ],
)
def test_scores_without_one_best_label(config, outputs, tmp_path):
    signature, model = unpacked(vit(tmp_path, **config))
    assert {f.name: (f.datatype, f.shape) for f in signature.outputs} == outputs
    assert model.run({"image": objects(file_of(picture(40, 40)))}).keys() == outputs.keys()


def test_a_folder_with_onnx_needs_no_torch(packed, folder, model, tmp_path):
    given = tmp_path / "given"
    shutil.copytree(folder, given)
    (given / "model.safetensors").unlink()
    shutil.copy(packed.path / "served" / "model.onnx", given)
    manifest, same = served(pack(given, name="m", out=tmp_path / "out"))
    assert manifest.evidence.reason == "the model was given as ONNX"
    assert "torch" not in (tmp_path / "out" / "requirements.txt").read_text()
    rows = {"image": objects(file_of(picture(40, 40)))}
    assert np.array_equal(same.run(rows)["probabilities"], model.run(rows)["probabilities"])


def test_a_preparation_that_is_not_done_is_named(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "preprocessor_config.json").write_text(
        json.dumps({**PROCESSOR, "image_processor_type": "LevitImageProcessor"})
    )
    with pytest.raises(Unsupported, match="LevitImageProcessor"):
        pack(copy, name="m", out=tmp_path / "out")


PNG = file_of(picture(40, 40))


@pytest.fixture(scope="module")
def node(packed):
    # Not pytest's own folder: its names are too long for the sockets of model processes.
    with tempfile.TemporaryDirectory(prefix="penstock-") as home:
        running = RunningNode(Path(home))
        running.publish(document(1, m=endpoint(verify_directory(packed.path, packed.digest))))
        running.start()
        yield running
        assert running.stop() == 0
        assert not running.events("internal-error")


def ask(node, *images):
    """A binary infer request of the Open Inference Protocol."""
    raw = to_bytes(objects(*images))
    tensor = {
        "name": "image",
        "shape": [len(images)],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return node.post("/v2/models/m/infer", head + raw, {"inference-header-content-length": str(len(head))})


def test_every_contract_takes_a_picture(node, model):
    want = model.run({"image": objects(PNG)})
    text = base64.b64encode(PNG).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    _, _, binary = ask(node, PNG)
    _, _, plain = node.post("/v2/models/m/infer", {"inputs": [tensor]})
    _, _, rows = node.post("/predict/m", {"rows": [{"image": text}]})
    _, _, tf_serving = node.post("/v1/models/m:predict", {"instances": [{"image": {"b64": text}}]})
    for answer in (binary, plain):
        found = {output["name"]: output["data"] for output in answer["outputs"]}
        assert found["predictions"] == [want["predictions"][0]]
        assert np.allclose(found["probabilities"], want["probabilities"][0], atol=1e-6)
    assert rows["predictions"] == [want["predictions"][0]]
    assert tf_serving["predictions"][0]["predictions"] == want["predictions"][0]


def test_a_node_blames_the_caller_and_lives(node):
    for data in (b"", PNG[:200], "no base64!", "ä"):
        status, _, answer = ask(node, data)
        assert (status, answer["code"]) == (400, "invalid-image")
    assert ask(node, PNG)[0] == 200


def test_a_bad_picture_costs_no_other_caller_an_answer(node):
    answers = []

    def call(number):
        answers.append((number % 3 == 0, ask(node, b"\xffnone" if number % 3 == 0 else PNG)[0]))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(48)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert {bad: {status for was_bad, status in answers if was_bad is bad} for bad in (True, False)} == {
        True: {400}, False: {200},
    }  # fmt: skip
