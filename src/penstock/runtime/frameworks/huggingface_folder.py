"""What the small JSON files of a Hugging Face folder say about how text becomes an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from penstock.core.errors import InvalidInput, Refused, Unsupported

Task = Literal["classify", "tag", "embed"]
_TASKS: dict[str, Task] = {"ForSequenceClassification": "classify", "ForTokenClassification": "tag", "Model": "embed"}
# These count positions from after the padding token's id, and so have fewer than they list.
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "bart")
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_NO_LIMIT = 1_000_000


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """From text to answer: the options of the bundle's artifact.

    `several` labels may hold at once, each with a probability of its own; a regression has no labels. `pooling` makes
    one vector of the tokens' vectors.
    """

    task: Task
    max_tokens: int
    pad_id: int = 0
    labels: tuple[str, ...] = ()
    several: bool = False
    pooling: Literal["cls", "mean", "max", "lasttoken"] = "mean"
    normalise: bool = False
    lower: bool = False
    prefix: str = ""


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a folder; raises Unsupported and Refused with what it asks for that is not done here."""
    config = read_config(folder)
    modules = read_json(folder / "modules.json", [])
    task = "embed" if modules else _task(folder, config)
    labels = labels_of(config)
    regression = task == "classify" and (config.get("problem_type") == "regression" or len(labels) == 1)
    return Recipe(
        task=task,
        max_tokens=_max_tokens(folder, config),
        pad_id=int(config.get("pad_token_id") or 0),
        labels=() if regression or task == "embed" else labels,
        several=config.get("problem_type") == "multi_label_classification",
        **_sentence(folder, modules),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says; raises Refused("model-with-code") for a model that brings its own Python."""
    config: dict[str, Any] = read_json(folder / "config.json")
    refuse_code(folder, config)
    return config


def refuse_code(folder: Path, config: dict[str, Any]) -> None:
    """Raise Refused("model-with-code") where a file of the folder asks for its author's Python."""
    if config.get("auto_map"):
        raise Refused(
            "model-with-code",
            f"{folder.name} asks for Python code of its author's (auto_map), which is never run",
            hint="use a model whose architecture is part of transformers, or pack a Python class",
        )


def labels_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The labels in the order of the network's scores."""
    labels = tuple(str(label) for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0])))
    return labels or tuple(f"LABEL_{number}" for number in range(int(config.get("num_labels", 2))))


def _task(folder: Path, config: dict[str, Any]) -> Task:
    for architecture in config.get("architectures") or ():
        for ending, task in _TASKS.items():
            if str(architecture).endswith(ending):
                return task
    raise Unsupported(
        "unsupported-model",
        f"{folder.name} is {', '.join(config.get('architectures') or ['of no architecture'])}, which is not served",
        hint="classification of texts, tokens and images, and embeddings are",
    )


def _max_tokens(folder: Path, config: dict[str, Any]) -> int:
    told = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    limits = [int(told or read_json(folder / "tokenizer_config.json").get("model_max_length") or _NO_LIMIT)]
    if positions := config.get("max_position_embeddings"):
        offset = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in _OFFSET else 0
        limits.append(int(positions) - offset)
    limit = min(limits)
    return limit if limit < _NO_LIMIT else 512


def _sentence(folder: Path, modules: list[dict[str, Any]]) -> dict[str, Any]:
    """What sentence-transformers does around the network."""
    said: dict[str, Any] = {}
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Normalize":
            said["normalise"] = True
        elif kind == "Pooling":
            said["pooling"] = _pooling(read_json(folder / str(module.get("path", "")) / "config.json"))
        elif kind != "Transformer" or module.get("path"):
            raise Unsupported("unsupported-model", f"{folder.name} has a module {kind!r}, which is not done here")
    if read_json(folder / "sentence_bert_config.json").get("do_lower_case"):
        said["lower"] = True
    prompts = read_json(folder / "config_sentence_transformers.json")
    if name := prompts.get("default_prompt_name"):
        said["prefix"] = str(prompts.get("prompts", {}).get(name, ""))
    return said


def _pooling(config: dict[str, Any]) -> str:
    found = {name for key, name in _POOLINGS.items() if config.get(key)}
    odd = [key for key, value in config.items() if key.startswith("pooling_mode_") and value and key not in _POOLINGS]
    if isinstance(newer := config.get("pooling_mode"), str):
        found = {newer}
    if len(found) != 1 or odd or not found <= set(_POOLINGS.values()):
        asked = sorted({*found, *odd})
        raise Unsupported("unsupported-model", f"vectors are pooled by {', '.join(asked) or 'nothing'}: not done here")
    return found.pop()


def read_json(path: Path, absent: Any = None) -> Any:
    """What a JSON file of the folder holds, `absent` or an empty object without the file; raises InvalidInput."""
    if not path.is_file():
        return {} if absent is None else absent
    try:
        found = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise InvalidInput("damaged-model", f"{path.name} is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, type(absent) if absent is not None else dict):
        raise InvalidInput("damaged-model", f"{path.name} holds something else than it should")
    return found
