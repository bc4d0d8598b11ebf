"""Hugging Face models: the tokenizer or the preparation of pictures, the network, and what is made of its scores.

The network is ONNX, which needs `tokenizers` and ONNX Runtime, or safetensors, which needs transformers and PyTorch.
Nothing is ever fetched: the folder is all there is.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Its threads would fight over the cores with those of the other model processes.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import msgspec
import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import PenstockError, Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.huggingface_folder import Recipe, read_recipe
from penstock.runtime.frameworks.huggingface_heads import HEADS
from penstock.runtime.frameworks.huggingface_image_recipe import IMAGES, of_images
from penstock.runtime.frameworks.huggingface_opened import Network, Opened
from penstock.runtime.frameworks.tabular import Outputs, damaged, failed
from penstock.runtime.model import Model

# Texts of like length go through the network together, so that little of what it computes is padding.
_TOGETHER = 32
_OF_TOKENS = ("input_ids", "attention_mask", "token_type_ids")
_OF_IMAGES = ("pixel_values",)


class HuggingfaceModel:
    """Texts in; labels and probabilities, entities, or vectors and numbers of tokens out. Options: a `Recipe`."""

    def __init__(self, opened: Opened, options: Mapping[str, Any], signature: Signature) -> None:
        self._recipe = msgspec.convert(dict(options), Recipe)
        self._network: Any = opened.network
        self._tokenizer = opened.tokenizer
        self._tokenizer.enable_truncation(self._recipe.max_tokens)
        self._tokenizer.no_padding()
        self._head = HEADS[self._recipe.task]
        self._text = signature.inputs[0].name
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a network's business."""
        texts = [self._prepared(text) for text in inputs[self._text].tolist()]
        try:
            results = self._answers(texts)
        except Exception as error:  # whatever a library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(texts))

    def raw(self, texts: Array) -> dict[str, Array]:
        """The answers as they come, before anybody said what they must be."""
        return self._answers([self._prepared(text) for text in texts.tolist()])

    def _prepared(self, text: str) -> str:
        text = self._recipe.prefix + text
        return text.lower() if self._recipe.lower else text

    def _answers(self, texts: list[str]) -> dict[str, Array]:
        encodings = self._tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row].ids))
        parts = []
        for rows in _chunks(order):
            chosen = [encodings[row] for row in rows]
            arrays = _padded(chosen, self._recipe.pad_id)
            scores = self._network(arrays)
            parts.append(self._head(scores, arrays["attention_mask"], chosen, [texts[row] for row in rows],
                                    self._recipe))  # fmt: skip
        back = np.argsort(order)
        return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}

    def close(self) -> None:
        """Drop the network."""
        self._network = None


def _chunks(order: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(order), _TOGETHER):
        yield order[at : at + _TOGETHER]


def _padded(encodings: list[Any], pad_id: int) -> Tensors:
    shape = len(encodings), max(1, *(len(encoding.ids) for encoding in encodings))
    ids, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        ids[row, :length], mask[row, :length], types[row, :length] = encoding.ids, 1, encoding.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def load(path: Path, artifact: Artifact, signature: Signature) -> Model:
    """Open the network at `path`, ONNX or safetensors, with the tokenizer beside it if it reads texts."""
    if artifact.serialization not in ("onnx", "safetensors"):
        raise Unsupported(
            "unsupported-serialization", f"Hugging Face models are not stored as {artifact.serialization}"
        )
    images = artifact.options.get("task") == IMAGES
    return adapter(_open(path, images), artifact.options, signature)


def adapter(opened: Opened, options: Mapping[str, Any], signature: Signature) -> Model:
    """What answers by an opened folder, as the options say."""
    if options.get("task") != IMAGES:
        return HuggingfaceModel(opened, options, signature)
    # Pillow, which models of texts need not.
    from penstock.runtime.frameworks.huggingface_images import ImagesModel

    return ImagesModel(opened, options, signature)


def open_estimator(path: Path) -> Opened:
    """Open a folder by its network's file; raises InvalidInput("damaged-model") for what its library cannot read."""
    return _open(path, of_images(path.parent))


def _open(path: Path, images: bool) -> Opened:
    tokenizer = None if images else _tokenizer(path.with_name("tokenizer.json"))
    try:
        if path.suffix == ".onnx":
            return Opened(path, tokenizer, _on_onnxruntime(path, _OF_IMAGES if images else _OF_TOKENS))
        module = _torch_module(path.parent)
        return Opened(path, tokenizer, _on_torch(module, _OF_IMAGES if images else tuple(takes_of(module))), module)
    except (PenstockError, ImportError):
        raise
    except Exception as error:  # ONNX Runtime and transformers raise as many classes as there are reasons
        raise damaged(path, error) from error


def _tokenizer(file: Path) -> Any:
    import tokenizers

    if not file.is_file():
        raise Unsupported(
            "unsupported-model",
            "the folder has no tokenizer.json",
            hint="transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it",
        )
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise damaged(file, error) from error


def _on_onnxruntime(path: Path, known: tuple[str, ...]) -> Network:
    from penstock.runtime.frameworks.onnx import session_of

    session = session_of(path, {})
    takes = [value.name for value in session.get_inputs()]
    gives = [value.name for value in session.get_outputs()]
    # The wanted one stands first in every exporter's graph; a pooled vector follows it.
    chosen = next((name for name in ("logits", "last_hidden_state") if name in gives), gives[0])
    if odd := [name for name in takes if name not in known]:
        raise Unsupported("unsupported-model", f"the graph takes {odd[0]!r}, and not only {', '.join(known)}")

    def answer(arrays: Tensors) -> Array:
        out: Array = session.run([chosen], {name: arrays[name] for name in takes})[0]
        return out

    return answer


def _torch_module(folder: Path) -> Any:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    kinds = {
        "classify": transformers.AutoModelForSequenceClassification,
        "tag": transformers.AutoModelForTokenClassification,
        "embed": transformers.AutoModel,
        IMAGES: transformers.AutoModelForImageClassification,
    }
    kind = kinds[IMAGES if of_images(folder) else read_recipe(folder).task]
    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    # Only this way of attention is one that exporters know in every model.
    return kind.from_pretrained(str(folder), **options, attn_implementation="eager", dtype=torch.float32).eval()


def takes_of(module: Any) -> list[str]:
    """Which of a tokenizer's arrays the network takes."""
    known = inspect.signature(module.forward).parameters
    return [name for name in _OF_TOKENS if name in known]


def _on_torch(module: Any, takes: tuple[str, ...]) -> Network:
    import torch

    def answer(arrays: Tensors) -> Array:
        with torch.inference_mode():
            out: Array = module(**{name: torch.from_numpy(arrays[name]) for name in takes})[0].numpy()
        return out

    return answer
