"""Hugging Face models that classify images: a picture's bytes become pixels, and the network's scores labels.

A caller's picture is read by Pillow, PNG and JPEG only, and never larger than what is said here.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import PIL.Image
import PIL.ImageOps

from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.huggingface_heads import labelled
from penstock.runtime.frameworks.huggingface_image_recipe import ImageRecipe
from penstock.runtime.frameworks.huggingface_opened import Opened
from penstock.runtime.frameworks.tabular import Outputs, failed

# What a picture may unfold to: 75 MB. A few bytes of PNG can claim any size.
MOST_PIXELS = 25_000_000
_FORMATS = ("PNG", "JPEG")
# So many pictures are unfolded at once.
_TOGETHER = 8


class ImagesModel:
    """Pictures in; labels and probabilities out. Options: an `ImageRecipe`."""

    def __init__(self, opened: Opened, options: Mapping[str, Any], signature: Signature) -> None:
        self._recipe = msgspec.convert(dict(options), ImageRecipe)
        self._network: Any = opened.network
        self._image = signature.inputs[0].name
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a network's business. Raises InvalidInput for what is no picture."""
        images = inputs[self._image].tolist()
        try:
            results = self.raw(images)
        except Exception as error:  # whatever a library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(images))

    def raw(self, images: list[str | bytes]) -> dict[str, Array]:
        """The answers as they come, before anybody said what they must be."""
        parts = []
        for at in range(0, len(images), _TOGETHER):
            pixels = np.stack([_pixels(image, self._recipe) for image in images[at : at + _TOGETHER]])
            parts.append(labelled(self._network({"pixel_values": pixels}), self._recipe.labels, self._recipe.several))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """Drop the network."""
        self._network = None


def _pixels(image: str | bytes, recipe: ImageRecipe) -> Array:
    """What the network takes of one picture: [colour, height, width]. Raises InvalidInput."""
    try:
        with warnings.catch_warnings():
            # Of sizes that are looked at below, and of odd files that are read nevertheless.
            warnings.simplefilter("ignore")
            picture = _scaled(_opened(_bytes(image)), recipe)
    except InvalidInput:
        raise
    except PIL.Image.DecompressionBombError:
        raise _too_large("more pixels than Pillow reads") from None
    except Exception as error:  # Pillow's readers raise as many classes as there are ways to damage a file
        raise _no_image(str(error)[:200] or type(error).__name__) from None
    colours: Any = np.asarray(picture, np.float32) * np.float32(recipe.scale)
    colours = (colours - np.array(recipe.mean, np.float32)) / np.array(recipe.std, np.float32)
    pixels: Array = np.ascontiguousarray(colours.transpose(2, 0, 1), np.float32)
    return pixels


def _bytes(image: str | bytes) -> bytes:
    """The file itself: neither PNG nor JPEG is ever UTF-8, so what came as text is in base64."""
    if isinstance(image, bytes):
        return image
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise _no_image("the text is not base64") from None


def _opened(data: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(data), formats=_FORMATS)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise _too_large(f"{width} x {height} pixels")
    # As the camera was held.
    return PIL.ImageOps.exif_transpose(picture).convert("RGB")


def _scaled(picture: PIL.Image.Image, recipe: ImageRecipe) -> PIL.Image.Image:
    width, height = picture.size
    if recipe.exact is not None:
        height, width = recipe.exact
    elif recipe.shorter:
        short, long = sorted((width, height))
        longer = int(recipe.shorter * long / short)
        if recipe.shorter * longer > MOST_PIXELS:
            raise _too_large(f"{width} x {height} pixels, {longer} on the longer edge once it is scaled")
        width, height = (recipe.shorter, longer) if width <= height else (longer, recipe.shorter)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), PIL.Image.Resampling(recipe.resample))
    if recipe.crop is None:
        return picture
    top, left = (height - recipe.crop[0]) // 2, (width - recipe.crop[1]) // 2
    # Beyond its edges it is black.
    return picture.crop((left, top, left + recipe.crop[1], top + recipe.crop[0]))


def _no_image(why: str) -> InvalidInput:
    return InvalidInput(
        "invalid-image", f"this is no picture: {why}", hint="send the bytes of a PNG or JPEG file, or them in base64"
    )


def _too_large(what: str) -> InvalidInput:
    return InvalidInput(
        "image-too-large", f"the picture has {what}; {MOST_PIXELS} are read at most", hint="make it smaller first"
    )
