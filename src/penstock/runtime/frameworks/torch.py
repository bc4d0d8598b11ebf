"""PyTorch programs: `torch.export` archives (.pt2) and TorchScript (.pt), on one thread of the CPU.

Both hold the program itself. A file of weights alone (`torch.save`) is a pickle and has no program; it is never opened.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from penstock.bundle.manifest import Artifact
from penstock.core.errors import ModelFailed, Refused, Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.tabular import Outputs, damaged, failed

# PyTorch's reader of archives falls back to whole pickles where this does not forbid it.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


class TorchModel:
    """A program whose inputs go by the order of the signature."""

    def __init__(self, program: Any, options: Mapping[str, Any], signature: Signature) -> None:
        torch.set_num_threads(int(options.get("threads", 1)))
        self._call: Any = callable_of(program)
        self._names = [field.name for field in signature.inputs]
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a program's business."""
        try:
            results = answer(self._call, [inputs[name] for name in self._names])
        except Exception as error:  # whatever a program raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(next(iter(inputs.values()))))

    def close(self) -> None:
        """Drop the program."""
        self._call = None


def callable_of(program: Any) -> Any:
    """What answers tensors with tensors: an exported program is a description of it."""
    return program.module() if isinstance(program, torch.export.ExportedProgram) else program


def answer(call: Any, arrays: list[Array]) -> dict[str, Array]:
    """The program's outputs by name: `output`, `output_0`, … of a tuple, or the keys of a dict."""
    with torch.inference_mode():
        result = call(*(tensor_of(array) for array in arrays))
    if isinstance(result, torch.Tensor):
        named = {"output": result}
    elif isinstance(result, Mapping):
        named = {str(name): value for name, value in result.items()}
    else:
        named = {f"output_{number}": value for number, value in enumerate(result)}
    if not all(isinstance(value, torch.Tensor) for value in named.values()):
        raise ModelFailed("wrong-output", "the program gives something else than tensors, or tensors within lists")
    return {name: value.detach().numpy() for name, value in named.items()}


def tensor_of(array: Array) -> Any:
    """The array as a tensor; copied only where PyTorch would warn that it must not be written to."""
    return torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else np.array(array, order="C"))


def load(path: Path, artifact: Artifact, signature: Signature) -> TorchModel:
    """Open the program at `path`."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"PyTorch programs are not stored as {artifact.serialization}")
    return TorchModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """The program in a file, an `ExportedProgram` or a `ScriptModule`.

    Raises Refused("pickle-refused") for weights without a program and for an archive with pickled parts,
    InvalidInput("damaged-model") for what PyTorch cannot read.
    """
    scripted = False
    try:
        with zipfile.ZipFile(path) as archive:
            scripted = any("/code/" in name for name in archive.namelist())
            _refuse_pickles(path, archive)
    except (zipfile.BadZipFile, ValueError, AttributeError) as error:
        if path.suffix == ".pt2":
            raise damaged(path, error) from error
    if scripted:
        try:
            return torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:  # its parser has no exception class of its own
            raise damaged(path, error) from error
    if path.suffix != ".pt2":
        raise Refused(
            "pickle-refused",
            f"{path.name} holds no program: it is a pickle, such as torch.save writes of weights",
            hint="export the program with its weights: torch.export.save(torch.export.export(model, inputs), 'm.pt2')",
        )
    try:
        return torch.export.load(str(path))
    except Exception as error:  # its parser has no exception class of its own
        raise damaged(path, error) from error


def _refuse_pickles(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse constants that PyTorch would unpickle; of all other parts it is told to take tensors only."""
    for name in archive.namelist():
        if "/data/constants/" not in name or not name.endswith(".json"):
            continue
        config = json.loads(archive.read(name)).get("config", {})
        if odd := [str(entry.get("path_name")) for entry in config.values() if not _is_tensor(entry)]:
            raise Refused(
                "pickle-refused",
                f"{path.name} holds {odd[0][:60]!r}, an object that can only be unpickled",
                hint="export a program whose constants are tensors",
            )


def _is_tensor(entry: Any) -> bool:
    return str(entry.get("path_name")).startswith("tensor_")
