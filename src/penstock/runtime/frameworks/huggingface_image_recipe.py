"""What the small JSON files of a Hugging Face folder say about how a picture becomes an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from penstock.core.errors import InvalidInput, Unsupported
from penstock.runtime.frameworks.huggingface_folder import labels_of, read_config, read_json, refuse_code

IMAGES: Literal["images"] = "images"
_ENDING = "ForImageClassification"
# Of the processors that do these steps and no others: how they scale where the file does not say (Pillow's numbers).
_BILINEAR, _BICUBIC, _LAST_RESAMPLE = 2, 3, 5
_PROCESSORS = {
    "ViT": _BILINEAR, "DeiT": _BICUBIC, "Beit": _BICUBIC, "ConvNext": _BICUBIC, "Bit": _BICUBIC, "CLIP": _BICUBIC,
    "Siglip": _BICUBIC, "MobileNetV1": _BILINEAR, "MobileNetV2": _BILINEAR,
}  # fmt: skip
# These take one number as the length of the shorter edge, the others as both.
_BY_SHORTER_EDGE = ("ConvNext", "Bit", "CLIP", "MobileNetV1", "MobileNetV2")
# From this size on ConvNeXT's processor cuts nothing off.
_CONVNEXT_WHOLE = 384
# A network that takes more is none that anybody trained, and its pixels would fill the memory.
_MOST_SIDE = 4096


class ImageRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """From picture to answer: the options of the bundle's artifact.

    A picture is scaled to `exact` (height, width), or until its shorter edge is `shorter` long; then `crop` is cut out
    of its middle, and each pixel becomes `(pixel * scale - mean) / std` of its channel.
    """

    task: Literal["images"] = IMAGES
    labels: tuple[str, ...] = ()
    several: bool = False
    exact: tuple[int, int] | None = None
    shorter: int = 0
    crop: tuple[int, int] | None = None
    resample: int
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network takes."""
        size = self.crop or self.exact
        assert size is not None  # noqa: S101 - `read_image_recipe` makes no other
        return size


def of_images(folder: Path) -> bool:
    """Whether the folder's model classifies images."""
    architectures = read_json(folder / "config.json").get("architectures") or ()
    return any(str(architecture).endswith(_ENDING) for architecture in architectures)


def read_image_recipe(folder: Path) -> ImageRecipe:
    """The recipe of a folder; raises Unsupported and Refused with what it asks for that is not done here."""
    config, said = read_config(folder), read_json(folder / "preprocessor_config.json")
    refuse_code(folder, said)
    if not said:
        raise Unsupported(
            "unsupported-model",
            "the folder has no preprocessor_config.json",
            hint="transformers.AutoImageProcessor.from_pretrained(folder).save_pretrained(folder) writes it",
        )
    if config.get("num_channels", 3) != 3:
        raise Unsupported("unsupported-model", f"the network takes {config['num_channels']} channels, and not colours")
    kind = _processor(said)
    try:
        labels = labels_of(config)
        return ImageRecipe(
            labels=() if config.get("problem_type") == "regression" or len(labels) == 1 else labels,
            several=config.get("problem_type") == "multi_label_classification",
            resample=_resample(said, kind),
            **_sizes(said, kind),
            **_colours(said),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidInput("damaged-model", f"preprocessor_config.json is not as it should be: {error}") from None


def _processor(said: dict[str, Any]) -> str:
    name = str(said.get("image_processor_type") or said.get("feature_extractor_type") or "")
    kind = name.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if kind not in _PROCESSORS:
        raise Unsupported(
            "unsupported-model",
            f"pictures are prepared by {name or 'a processor without a name'}, which is not done here",
            hint=f"those of {', '.join(_PROCESSORS)} are; pack a Python class that prepares them",
        )
    return kind


def _sizes(said: dict[str, Any], kind: str) -> dict[str, Any]:
    crop = _pair(said.get("crop_size")) if said.get("do_center_crop") else None
    exact, shorter = None, 0
    if said.get("do_resize", True):
        size = said["size"]
        edge = size.get("shortest_edge") if isinstance(size, dict) else size if kind in _BY_SHORTER_EDGE else None
        if edge is None:
            exact = _pair(size)
        elif kind == "ConvNext":
            side = _side(edge)
            exact = (side, side) if side >= _CONVNEXT_WHOLE else None
            shorter = 0 if exact else _side(int(side / float(said.get("crop_pct", 0.875))))
            crop = None if exact else (side, side)
        else:
            shorter = _side(edge)
    if exact is None and crop is None:
        raise Unsupported("unsupported-model", "the folder does not say to which one size pictures are brought")
    return {"exact": exact, "shorter": shorter, "crop": crop}


def _resample(said: dict[str, Any], kind: str) -> int:
    number = int(said.get("resample", _PROCESSORS[kind]))
    if not 0 <= number <= _LAST_RESAMPLE:
        raise ValueError(f"resample is {number}")
    return number


def _pair(size: Any) -> tuple[int, int]:
    return (_side(size["height"]), _side(size["width"])) if isinstance(size, dict) else (_side(size), _side(size))


def _side(value: Any) -> int:
    if not 0 < int(value) <= _MOST_SIDE:
        raise ValueError(f"a side of {value}")
    return int(value)


def _colours(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (
        {"scale": float(said.get("rescale_factor", 1 / 255))} if said.get("do_rescale", True) else {}
    )
    if said.get("do_normalize", True):
        found |= {"mean": _three(said["image_mean"]), "std": _three(said["image_std"])}
        if not all(found["std"]):
            raise ValueError("image_std holds 0")
    return found


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in (values if isinstance(values, list) else [values] * 3))
    return first, second, third
