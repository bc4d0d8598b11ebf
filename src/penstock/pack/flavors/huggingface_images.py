"""Hugging Face folders whose models classify images."""

from __future__ import annotations

import base64
import io

import msgspec
import numpy as np
import PIL.Image

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import datatype_of
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.huggingface_image_recipe import ImageRecipe, read_image_recipe
from penstock.runtime.frameworks.huggingface_images import ImagesModel
from penstock.runtime.frameworks.huggingface_opened import Opened

_PICTURES = 24


def describe(opened: Opened) -> Description:
    """What the folder's configuration says, with made-up pictures."""
    recipe, pictures = read_image_recipe(opened.path.parent), _pictures()
    on_torch = opened.module is not None
    signature = _declared(opened, recipe, pictures)
    return Description(
        runtime="huggingface",
        kind=f"huggingface.{type(opened.module).__name__ if on_torch else recipe.task}",
        classes=signature.classes,
        declared=signature,
        parameters={"task": recipe.task},
        distributions=distributions_of(
            {"numpy", "PIL", *(("torch", "transformers", "safetensors") if on_torch else ("onnxruntime",))}
        ),
        options=msgspec.to_builtins(recipe),
        texts=pictures,
    )


def _declared(opened: Opened, recipe: ImageRecipe, pictures: tuple[str, ...]) -> Signature:
    image = Field(name="image", datatype="BYTES", shape=(-1,))
    classes = None if recipe.several else recipe.labels or None
    draft = Signature(inputs=(image,), outputs=(), layout="tensors", classes=classes)
    answers = ImagesModel(opened, msgspec.to_builtins(recipe), draft).raw(list(pictures[:2]))
    width = answers["probabilities"].shape[1] if "probabilities" in answers else 0
    if recipe.labels and width != len(recipe.labels):
        raise InvalidInput("damaged-model", f"the network gives {width} scores for {len(recipe.labels)} labels")
    outputs = tuple(
        Field(name=name, datatype=datatype_of(array), shape=(-1, *array.shape[1:])) for name, array in answers.items()
    )
    return msgspec.structs.replace(draft, outputs=outputs)


def _pictures() -> tuple[str, ...]:
    """PNG files in base64: gradients and noise of different sizes, nobody's photographs."""
    chance = np.random.default_rng(0)
    made = []
    for number in range(_PICTURES):
        height, width = (int(size) for size in chance.integers(24, 96, 2))
        slope = np.linspace(0, 255, width)[None, :, None] * chance.random(3)[None, None, :]
        noise = chance.integers(0, 1 + 8 * number, (height, width, 3))
        file = io.BytesIO()
        PIL.Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8)).save(file, "PNG")
        made.append(base64.b64encode(file.getvalue()).decode())
    return tuple(made)


def convert(opened: Opened) -> list[Candidate]:
    """The network as ONNX; how pictures are prepared stays. Raises CannotConvert with the exporter's words."""
    if opened.module is None:
        raise CannotConvert("the model was given as ONNX")
    from penstock.pack.flavors.huggingface_export import exported_of_images

    recipe = read_image_recipe(opened.path.parent)
    model, converter = exported_of_images(opened.module, recipe.size)
    options = msgspec.to_builtins(recipe)
    return [Candidate(name="torch.onnx", model=model, converter=converter, runtime="huggingface", options=options)]
