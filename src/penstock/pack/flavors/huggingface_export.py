"""The network of a Hugging Face model as ONNX, with any number of rows and tokens."""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Any

import torch

from penstock.pack.convert import CannotConvert
from penstock.pack.flavors.torch import versions

_OPSET = 18


class _FirstOutput(torch.nn.Module):  # type: ignore[misc]
    """The network as a function of arrays in a fixed order, without what nobody asked for."""

    def __init__(self, module: Any, takes: list[str]) -> None:
        super().__init__()
        self._module = module
        self._takes = takes

    def forward(self, *arrays: Any) -> Any:
        return self._module(**dict(zip(self._takes, arrays, strict=True)), return_dict=False)[0]


def exported(module: Any, takes: list[str]) -> tuple[bytes, dict[str, str]]:
    """The graph of a network of tokens, and the versions of what made it; raises CannotConvert."""
    ids = torch.zeros(2, 9, dtype=torch.int64)
    shown = tuple(torch.ones_like(ids) if name == "attention_mask" else ids.clone() for name in takes)
    return _exported(module, takes, shown, {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC})


def exported_of_images(module: Any, size: tuple[int, int]) -> tuple[bytes, dict[str, str]]:
    """The same of a network of pictures of one size."""
    return _exported(module, ["pixel_values"], (torch.zeros(2, 3, *size),), {0: torch.export.Dim.DYNAMIC})


def _exported(module: Any, takes: list[str], shown: tuple[Any, ...], open_axes: Any) -> tuple[bytes, dict[str, str]]:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        program = torch.export.export(
            _FirstOutput(module, takes), shown, dynamic_shapes=((open_axes,) * len(takes),), strict=False
        )
        graph = torch.onnx.export(
            program, dynamo=True, verbose=False, opset_version=_OPSET, input_names=takes, output_names=["scores"]
        )
        model = graph.model_proto.SerializeToString()
    except ImportError as error:
        raise CannotConvert(f"the exporter needs {error.name}: pip install 'penstock[torch]'") from error
    except Exception as error:  # exporters fail in as many ways as there are; the original is served then
        said = (str(error).splitlines() or [""])[0][:300]
        raise CannotConvert(f"PyTorch's exporter failed with {type(error).__name__}: {said}") from error
    return model, {**versions(), "transformers": importlib.metadata.version("transformers")}
