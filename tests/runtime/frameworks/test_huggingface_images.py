"""Pictures that callers send, and what folders say of them: no network is needed to refuse them."""

import base64
import io
import json
import struct
import zlib
from importlib import import_module

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput, PenstockError, Refused, Unsupported
from penstock.core.signature import Field, Signature
from penstock.runtime.frameworks.huggingface_image_recipe import ImageRecipe, of_images, read_image_recipe
from penstock.runtime.frameworks.huggingface_opened import Opened

PIL_Image = pytest.importorskip("PIL.Image")
ImagesModel = import_module("penstock.runtime.frameworks.huggingface_images").ImagesModel

CONFIG = {"architectures": ["ViTForImageClassification"], "id2label": {"0": "cat", "1": "dog"}}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "size": {"height": 4, "width": 6}, "resample": 0,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
SIGNATURE = Signature(
    inputs=(Field(name="image", datatype="BYTES", shape=(-1,)),),
    outputs=(Field(name="predictions", datatype="FP32", shape=(-1, 3)),),
    layout="tensors",
)


def model(**recipe):
    """A network whose answer is the mean of each colour."""
    opened = Opened(None, None, lambda arrays: arrays["pixel_values"].mean(axis=(2, 3)))
    made = ImageRecipe(**{"exact": (4, 6), "resample": 0, "scale": 1 / 255, **recipe})
    return ImagesModel(opened, msgspec.to_builtins(made), SIGNATURE)


def objects(*values):
    out = np.empty(len(values), object)
    out[:] = values
    return out


def file_of(image, kind="PNG"):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def bomb(width=60_000, height=60_000):
    """A PNG of a few hundred bytes that unfolds to gigabytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


PNG = file_of(PIL_Image.new("RGB", (20, 10), (255, 51, 0)))
BAD = {
    "nothing": (b"", "invalid-image"),
    "noise": (b"\xff\xfe" * 50, "invalid-image"),
    "text": ("no base64!", "invalid-image"),
    "cut": (PNG[:45], "invalid-image"),
    "another format": (file_of(PIL_Image.new("L", (9, 9)), "GIF"), "invalid-image"),
    "base64 of noise": (base64.b64encode(b"noise").decode(), "invalid-image"),
    "a bomb": (bomb(), "image-too-large"),
    "a smaller bomb": (bomb(6_000, 6_000), "image-too-large"),
    "lies of its size": (bomb(100, 100), "invalid-image"),
}


@pytest.mark.parametrize("image", [PNG, base64.b64encode(PNG).decode()], ids=["bytes", "base64"])
def test_a_picture_is_its_pixels(image):
    assert np.allclose(model().run({"image": objects(image)})["predictions"], [[1.0, 0.2, 0.0]])
    normal = model(mean=(0.5, 0.5, 0.5), std=(0.5, 0.1, 1.0))
    assert np.allclose(normal.run({"image": objects(image)})["predictions"], [[1.0, -3.0, -0.5]], atol=1e-6)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused(name):
    data, code = BAD[name]
    with pytest.raises(InvalidInput) as caught:
        model().run({"image": objects(PNG, data)})
    assert caught.value.code == code


@given(st.binary(max_size=200), st.integers(0, len(PNG)))
def test_no_bytes_fail_in_another_way(noise, at):
    for data in (noise, PNG[:at] + noise + PNG[at + len(noise) :], noise.decode("latin-1")):
        try:
            model().run({"image": objects(data)})
        except InvalidInput as refusal:
            assert refusal.code in ("invalid-image", "image-too-large")


def test_a_thin_picture_does_not_unfold_while_it_is_scaled():
    thin = file_of(PIL_Image.new("L", (400_000, 1)))
    with pytest.raises(InvalidInput) as caught:
        model(exact=None, shorter=64, crop=(64, 64)).run({"image": objects(thin)})
    assert caught.value.code == "image-too-large"


def folder_of(path, config=CONFIG, processor=PROCESSOR):
    (path / "config.json").write_text(json.dumps(config))
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def test_which_folders_are_of_images(tmp_path):
    assert of_images(folder_of(tmp_path))
    assert not of_images(folder_of(tmp_path, {"architectures": ["BertForSequenceClassification"]}))


@pytest.mark.parametrize(
    ("change", "exact", "shorter", "crop"),
    [
        ({}, (4, 6), 0, None),
        ({"size": 8}, (8, 8), 0, None),
        ({"size": 8, "do_center_crop": True, "crop_size": 6}, (8, 8), 0, (6, 6)),
        ({"image_processor_type": "CLIPImageProcessorFast", "size": 8, "do_center_crop": True,
          "crop_size": {"height": 6, "width": 5}}, None, 8, (6, 5)),
        ({"image_processor_type": None, "feature_extractor_type": "ConvNextFeatureExtractor", "size": 224,
          "crop_pct": 0.875}, None, 256, (224, 224)),
        ({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}}, (384, 384), 0, None),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_folder(tmp_path, change, exact, shorter, crop):
    recipe = read_image_recipe(folder_of(tmp_path, processor={**PROCESSOR, **change}))
    assert (recipe.exact, recipe.shorter, recipe.crop) == (exact, shorter, crop)
    assert recipe.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"image_processor_type": "LevitImageProcessor"}, Unsupported, "LevitImageProcessor"),
        ({"image_processor_type": None}, Unsupported, "without a name"),
        ({"do_resize": False}, Unsupported, "size"),
        ({"image_processor_type": "CLIPImageProcessor", "size": 8}, Unsupported, "size"),
        ({"auto_map": {"AutoImageProcessor": "evil.Processor"}}, Refused, "auto_map"),
        ({"size": {"height": 10**9, "width": 10**9}}, InvalidInput, "side"),
        ({"size": {"longest": 3}}, InvalidInput, "preprocessor_config"),
        ({"image_std": [0, 1, 1]}, InvalidInput, "image_std"),
        ({"image_mean": "red"}, InvalidInput, "preprocessor_config"),
        ({"image_mean": None}, InvalidInput, "preprocessor_config"),
        ({"resample": "best"}, InvalidInput, "preprocessor_config"),
        ({"resample": 9}, InvalidInput, "resample"),
    ],
)
def test_what_the_folder_asks_for_and_is_not_done_is_named(tmp_path, change, error, says):
    with pytest.raises(PenstockError, match=says) as caught:
        read_image_recipe(folder_of(tmp_path, processor={**PROCESSOR, **change}))
    assert type(caught.value) is error


def test_a_folder_without_its_preparation_says_how_to_write_it(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(Unsupported) as caught:
        read_image_recipe(folder)
    assert "AutoImageProcessor" in caught.value.hint


def test_a_network_of_other_channels_is_refused(tmp_path):
    with pytest.raises(Unsupported, match="1 channels"):
        read_image_recipe(folder_of(tmp_path, {**CONFIG, "num_channels": 1}))
