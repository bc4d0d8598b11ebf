"""Facts about an estimator as plain values that do not change from run to run."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from penstock.core.digest import digest_of, short
from penstock.core.signature import Scalar

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 500


def class_name(value: Any) -> str:
    """The full name of a value's class, for example `sklearn.pipeline.Pipeline`."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def labels_of(classes: Any) -> tuple[Scalar, ...] | None:
    """A classifier's `classes_` as plain values; None for a model with several outputs, whose classes are a list.

    Example:
        >>> labels_of(np.array([0, 1], np.int8))
        (0, 1)
    """
    if classes is None or isinstance(classes, list):
        return None
    array = np.asarray(classes)
    plain = array.tolist()
    if array.ndim != 1 or not plain or not all(isinstance(value, (bool, int, float, str)) for value in plain):
        return None
    return tuple(plain)


def parameters_of(estimator: Any) -> dict[str, Any]:
    """`get_params` as JSON values; objects become their class's name, arrays a short digest."""
    if not hasattr(estimator, "get_params"):
        return {}
    return {str(name): plain(value) for name, value in sorted(estimator.get_params().items())}


def plain(value: Any) -> Any:
    """One value as JSON, the same in every process: no addresses, no order of a set.

    Example:
        >>> plain({"b": {2, 1}, "a": np.float32(0.5)})
        {'a': 0.5, 'b': [1, 2]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, str) else value[:_LONGEST]
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(element) for element in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value[:100]]
    if isinstance(value, np.ndarray):
        return f"array{list(value.shape)} {value.dtype} {short(digest_of(np.ascontiguousarray(value).tobytes()))}"
    if hasattr(value, "get_params"):
        return class_name(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _ADDRESS.sub("", repr(value))[:_LONGEST]


def distributions_of(modules: Iterable[str]) -> tuple[str, ...]:
    """The installed distributions that provide the top-level packages of these modules, without our own."""
    provided = _provided()
    tops = {module.partition(".")[0] for module in modules}
    found = {name.lower().replace("_", "-") for top in tops for name in provided.get(top, ())}
    return tuple(sorted(found - {"penstock"}))


@functools.cache
def _provided() -> Mapping[str, list[str]]:
    # Reads the file list of every installed package: a third of a second, for an answer that does not change.
    return importlib.metadata.packages_distributions()


def modules_of(estimator: Any) -> set[str]:
    """The modules of an estimator's class and of the estimators inside it."""
    inside = estimator.get_params().values() if hasattr(estimator, "get_params") else ()
    found = {type(estimator).__module__, *(base.__module__ for base in type(estimator).__mro__)}
    stack = [*inside, *getattr(estimator, "steps", ())]
    for value in stack:
        if isinstance(value, (list, tuple)):
            stack.extend(value)
        elif hasattr(value, "get_params"):
            found.update(base.__module__ for base in type(value).__mro__)
    return found
