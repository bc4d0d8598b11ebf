"""Which file is which kind of model, and the opening of it. Called in the child process only."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.bundle.archive import check_member_name
from penstock.bundle.manifest import Artifact, Runtime, Serialization
from penstock.core.errors import (
    InvalidInput,
    ModelFailed,
    NotFound,
    PenstockError,
    Refused,
    Unavailable,
    Unsupported,
)
from penstock.pack.folders import artifact_of_folder, files_of_folder

_KINDS: dict[str, tuple[Runtime, Serialization]] = {
    ".joblib": ("sklearn", "joblib"),
    # joblib reads plain pickles too, and many a .pkl was written by joblib.
    ".pkl": ("sklearn", "joblib"),
    ".pickle": ("sklearn", "joblib"),
    ".skops": ("sklearn", "skops"),
    ".onnx": ("onnx", "onnx"),
    ".json": ("xgboost", "native"),
    ".ubj": ("xgboost", "native"),
    ".txt": ("lightgbm", "native"),
    ".cbm": ("catboost", "native"),
    ".pt2": ("torch", "native"),
    ".pt": ("torch", "native"),
    ".pth": ("torch", "native"),
    ".keras": ("tensorflow", "native"),
    ".tflite": ("tflite", "native"),
}
# Kinds whose packages an extra of the same name brings.
_EXTRAS = ("torch", "huggingface", "tensorflow", "tflite", "statsmodels", "spacy")


def artifact_of(model: str) -> tuple[Path, Artifact]:
    """The file that `model` names and what it will be in the bundle: a model file, a folder, or `file.py:ClassName`.

    Of a folder it is the file by which its kind is known.
    Raises NotFound for a missing file, Unsupported for a kind of file that is no model.
    """
    source, colon, entry = model.rpartition(":")
    if colon and source.endswith(".py"):
        path, name = Path(source), Path(source).name
        if not entry.isidentifier():
            raise Unsupported("unknown-model-file", f"{entry!r} names no class", hint="write model.py:Model")
        artifact = Artifact(path=f"original/{name}", runtime="python", serialization="source", entry=entry)
    elif Path(model).is_dir():
        path, artifact = artifact_of_folder(Path(model))
    else:
        path = Path(model)
        if path.suffix.lower() not in _KINDS:
            raise Unsupported(
                "unknown-model-file",
                f"{path.name or model!r} is no kind of model file we know",
                hint=f"one of {', '.join(_KINDS)}, a model's folder (MLflow's, too), or file.py:ClassName",
            )
        runtime, serialization = _KINDS[path.suffix.lower()]
        artifact = Artifact(path=f"original/model{path.suffix.lower()}", runtime=runtime, serialization=serialization)
    if not path.is_file():
        raise NotFound("unknown-file", f"there is no model file at {path}")
    return path, artifact


def open_file(path: Path, artifact: Artifact) -> Any:
    """The object in a model file. A pickle runs its author's code here: the waiver was checked by who asked.

    Raises what the framework raises for a file it refuses; InvalidInput("damaged-model") for any other failure, and
    ModelFailed("model-failed") for a Python class that cannot be imported or loaded.
    """
    try:
        return _open(path, artifact)
    except PenstockError:
        raise
    except ModuleNotFoundError as error:
        if not _extras_for(artifact, error):
            raise _cannot_open(path, artifact, error) from error
        raise Unavailable(
            "module-missing",
            f"packing {path.name} needs the module {error.name!r}, which this Python does not have",
            hint=f"pip install 'penstock[{','.join(['pack', *_extras_for(artifact, error)])}]'",
        ) from error
    except Exception as error:  # libraries' parsers and users' classes may raise anything while they open a file
        raise _cannot_open(path, artifact, error) from error


def _extras_for(artifact: Artifact, error: ModuleNotFoundError) -> list[str]:
    """The extras that bring what is missing: the kind's own, and that of a library which it stands on."""
    missing = (error.name or "").partition(".")[0]
    wanted = () if artifact.runtime == "python" else (artifact.runtime, missing)
    return [extra for extra in dict.fromkeys(wanted) if extra in _EXTRAS]


def _cannot_open(path: Path, artifact: Artifact, error: Exception) -> PenstockError:
    said = f"{path.name} cannot be opened: {type(error).__name__}: {str(error)[:300]}"
    if artifact.runtime == "python":
        return ModelFailed(
            "model-failed", said, hint="give the files and modules it needs in one folder, with --assets FOLDER"
        )
    hint = "install the package it was trained with" if isinstance(error, ImportError) else ""
    return InvalidInput("damaged-model", said, hint=hint)


def _open(path: Path, artifact: Artifact) -> Any:
    framework: Any = import_module(f"penstock.runtime.frameworks.{artifact.runtime}")
    match artifact.runtime:
        case "sklearn":
            return framework.open_estimator(path, artifact.serialization, allow_pickle=True)
        case "python":
            return framework.open_estimator(path, artifact.entry)
        case "onnx":
            return path
        case "graph":
            return framework.open_estimator(path, allow_pickle=True)
        case "catboost":
            found = framework.open_estimator(path, classifier=False)
            return framework.open_estimator(path, classifier=True) if len(found.classes_) else found
        case _:
            return framework.open_estimator(path)


def files_beside(path: Path, artifact: Artifact, assets: str) -> dict[str, Path]:
    """The files that belong to a model, by their place in the bundle beside it: assets of a class, data of a graph.

    Raises NotFound for a missing folder or file, Refused for one that is a link or lies elsewhere: what it leads to
    would change with the machine.
    """
    if artifact.runtime == "onnx" and not assets:
        return {name: _plain_file(path.parent, name) for name in _external_data(path)}
    if not assets:
        return _beside_in_folder(path, artifact)
    folder = Path(assets)
    if artifact.runtime != "python" or not folder.is_dir():
        raise NotFound("unknown-file", f"there is no folder {assets}, or the model is no Python class to need one")
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if not file.is_dir()]
    return {
        name: _plain_file(folder, name)
        for name in names
        if "__pycache__" not in name.split("/") and (folder / name).resolve() != path.resolve()
    }


def _beside_in_folder(path: Path, artifact: Artifact) -> dict[str, Path]:
    beside = files_of_folder(path, artifact)
    if artifact.serialization == "onnx":
        beside |= {name: _plain_file(path.parent, name) for name in _external_data(path)}
    return beside


def _plain_file(folder: Path, name: str) -> Path:
    file = folder / check_member_name(name)
    if any(part.is_symlink() for part in (file, *file.parents) if part != folder and folder in part.parents):
        raise Refused("unsafe-archive", f"{file} is a link", hint="copy the file into the folder")
    if not file.is_file():
        raise NotFound("unknown-file", f"the model needs {file}, which is not there")
    return file


def _external_data(path: Path) -> list[str]:
    """The files in which a large graph keeps its weights."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's own error class has no typed import, and means only this
        raise InvalidInput("damaged-model", f"{path.name} is no ONNX file: {str(error)[:200]}") from None
    entries = [entry for tensor in _tensors(graph) for entry in tensor.external_data]
    return sorted({entry.value for entry in entries if entry.key == "location"})


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
