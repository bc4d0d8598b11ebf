"""Models that are folders: which kind one is, and which of its files belong to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penstock.bundle.archive import check_member_name
from penstock.bundle.manifest import Artifact, Runtime, Serialization
from penstock.core.errors import Refused, Unsupported

# The file by which a folder's kind is known, with others that must be there.
_KINDS: tuple[tuple[str, tuple[str, ...], Runtime, Serialization], ...] = (
    ("saved_model.pb", (), "tensorflow", "native"),
    ("config.json", ("model.weights.h5", "metadata.json"), "tensorflow", "native"),
    ("model.onnx", ("config.json",), "huggingface", "onnx"),
    ("onnx/model.onnx", ("config.json",), "huggingface", "onnx"),
    ("model.safetensors", ("config.json",), "huggingface", "safetensors"),
    ("model.safetensors.index.json", ("config.json",), "huggingface", "safetensors"),
    ("config.cfg", ("meta.json",), "spacy", "native"),
)
# What a Hugging Face folder may hold besides is training state, other frameworks' weights and pictures.
_HUGGINGFACE = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json",
    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*_Pooling/config.json",
    "*_Normalize/config.json", "*_Dense/config.json",
)  # fmt: skip
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")


def artifact_of_folder(folder: Path) -> tuple[Path, Artifact]:
    """The file that stands for the model in `folder`, and what it will be in the bundle.

    Raises Unsupported("unknown-model-file") for a folder of no kind we know, Refused("pickle-refused") for one whose
    weights are only there as a pickle.
    """
    for main, others, runtime, serialization in _KINDS:
        if all((folder / name).is_file() for name in (main, *others)):
            path = folder / main
            return path, Artifact(path=f"original/{path.name}", runtime=runtime, serialization=serialization)
    if (folder / "config.json").is_file() and (folder / "pytorch_model.bin").is_file():
        raise Refused(
            "pickle-refused",
            f"{folder.name} has its weights in pytorch_model.bin, a pickle: opening it runs what its author put in",
            hint="save it once where you trust it: model.save_pretrained(folder, safe_serialization=True)",
        )
    raise Unsupported(
        "unknown-model-file",
        f"{folder.name} is no kind of model folder we know",
        hint="a SavedModel, an unpacked .keras file, a Hugging Face folder (config.json, tokenizer.json or"
        " preprocessor_config.json, and model.safetensors or model.onnx), or a spaCy pipeline",
    )


def files_of_folder(path: Path, artifact: Artifact) -> dict[str, Path]:
    """The other files of the model for which `path` stands, by their place in the bundle beside it; none of a file.

    Raises Refused("unsafe-archive") for a link out of the model's folder: what it leads to would change.
    """
    if artifact.runtime == "huggingface":
        return dict(_of_huggingface(path, artifact))
    if path.name not in {Path(main).name for main, _, runtime, _ in _KINDS if runtime == artifact.runtime}:
        return {}
    beside = {}
    for file in sorted(path.parent.rglob("*")):
        name = file.relative_to(path.parent).as_posix()
        if file.is_dir() or file == path or any(part.startswith((".", "__pycache__")) for part in name.split("/")):
            continue
        if file.is_symlink() or not file.resolve().is_relative_to(path.parent.resolve()):
            raise Refused("unsafe-archive", f"{file} is a link", hint="copy the file into the folder")
        beside[check_member_name(name)] = file
    return beside


def _of_huggingface(path: Path, artifact: Artifact) -> Iterator[tuple[str, Path]]:
    # The hub's own cache is made of links to files named by their digest: they are followed, and copied.
    folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    weights = _WEIGHTS if artifact.serialization == "safetensors" else ()
    for pattern in (*_HUGGINGFACE, *weights):
        for file in sorted(folder.glob(pattern)):
            if file.is_file() and file != path:
                yield check_member_name(file.relative_to(folder).as_posix()), file
