"""Hugging Face folders: given as ONNX, or as safetensors that become ONNX. What is particular to images is beside."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors, datatype_of
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.huggingface import HuggingfaceModel, adapter, takes_of
from penstock.runtime.frameworks.huggingface_folder import Recipe, read_recipe
from penstock.runtime.frameworks.huggingface_image_recipe import read_image_recipe
from penstock.runtime.frameworks.huggingface_opened import Opened
from penstock.runtime.model import Model

_TEXTS = 64
_PROBE = np.array(["text", "more text"], object)


def describe(opened: Opened) -> Description:
    """What the folder's configuration says, with texts made of the tokenizer's own words."""
    if opened.tokenizer is None:
        # Pillow, which models of texts need not.
        from penstock.pack.flavors import huggingface_images

        return huggingface_images.describe(opened)
    recipe = read_recipe(opened.path.parent)
    on_torch = opened.module is not None
    return Description(
        runtime="huggingface",
        kind=f"huggingface.{type(opened.module).__name__ if on_torch else recipe.task}",
        classes=_classes(recipe),
        declared=_declared(opened, recipe),
        parameters={"task": recipe.task, "max_tokens": recipe.max_tokens},
        distributions=distributions_of(
            {"numpy", "tokenizers", *(("torch", "transformers", "safetensors") if on_torch else ("onnxruntime",))}
        ),
        options=msgspec.to_builtins(recipe),
        texts=_texts(opened.tokenizer, recipe),
    )


def _classes(recipe: Recipe) -> tuple[str, ...] | None:
    return recipe.labels if recipe.task == "classify" and recipe.labels else None


def _declared(opened: Opened, recipe: Recipe) -> Signature:
    text = Field(name="text", datatype="BYTES", shape=(-1,))
    names = {"classify": ("predictions", "probabilities"), "tag": ("entities",), "embed": ("embedding", "tokens")}
    given = [name for name in names[recipe.task] if name not in _absent(recipe)]
    draft = tuple(Field(name=name, datatype="BYTES", shape=(-1,)) for name in given)
    signature = Signature(inputs=(text,), outputs=draft, layout="tensors", classes=_classes(recipe))
    answers = HuggingfaceModel(opened, msgspec.to_builtins(recipe), signature).raw(_PROBE)
    width = answers["probabilities"].shape[1] if "probabilities" in answers else len(recipe.labels)
    if recipe.labels and width != len(recipe.labels):
        raise InvalidInput("damaged-model", f"the network gives {width} scores for {len(recipe.labels)} labels")
    outputs = tuple(
        Field(name=name, datatype=datatype_of(answers[name]), shape=(-1, *answers[name].shape[1:])) for name in given
    )
    return msgspec.structs.replace(signature, outputs=outputs)


def _absent(recipe: Recipe) -> tuple[str, ...]:
    if not recipe.labels:
        return ("probabilities",)
    return ("predictions",) if recipe.several else ()


def _texts(tokenizer: Any, recipe: Recipe) -> tuple[str, ...]:
    """Texts of different lengths: short ones, and a few that are cut."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii()) or ["text"]
    chance = random.Random(0)  # noqa: S311 - nothing secret: the same texts for the same folder
    longest = min(recipe.max_tokens, 64)
    lengths = [1 + number % longest for number in range(_TEXTS - 2)] + [recipe.max_tokens, recipe.max_tokens + 8]
    return tuple(" ".join(chance.choices(words, k=min(length, 600))) for length in lengths)


def answer(opened: Opened, x: Any) -> Tensors:
    """Never asked: the folder says what it gives."""
    raise Unsupported("unsupported-graph", "a Hugging Face folder is not probed")


def adapt(opened: Opened, options: Mapping[str, Any], signature: Signature) -> Model:
    """The adapter that would serve it."""
    return adapter(opened, options or _options(opened), signature)


def _options(opened: Opened) -> dict[str, Any]:
    read = read_recipe if opened.tokenizer is not None else read_image_recipe
    found: dict[str, Any] = msgspec.to_builtins(read(opened.path.parent))
    return found


def convert(opened: Opened, signature: Signature) -> list[Candidate]:
    """The network as ONNX; tokenizer and heads stay what they are. Raises CannotConvert with the exporter's words."""
    if opened.module is None:
        raise CannotConvert("the model was given as ONNX")
    if opened.tokenizer is None:
        from penstock.pack.flavors import huggingface_images

        return huggingface_images.convert(opened)
    from penstock.pack.flavors.huggingface_export import exported

    model, converter = exported(opened.module, takes_of(opened.module))
    options = msgspec.to_builtins(read_recipe(opened.path.parent))
    return [
        Candidate(
            name="torch.onnx",
            model=model,
            converter=converter,
            runtime="huggingface",
            options=options,
            beside=("tokenizer.json",),
        )
    ]
