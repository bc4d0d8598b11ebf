"""Plain Python classes with `predict`, kept as source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import distributions_of, labels_of
from penstock.pack.original import Description
from penstock.runtime.frameworks.python import PythonModel


def describe(instance: Any) -> Description:
    """The class's name, its `classes` if it has any, and the packages that its source imports."""
    return Description(
        runtime="python",
        kind=f"python.{type(instance).__qualname__}",
        classes=labels_of(np.asarray(instance.classes)) if hasattr(instance, "classes") else None,
        distributions=distributions_of({*_imports(Path(inspect.getfile(type(instance)))), "numpy"}),
    )


def _imports(source: Path) -> Iterator[str]:
    """Every module named in the source and in those of its neighbours that it imports."""
    waiting, seen = [source], set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            yield from names
            waiting += [
                beside for name in names if (beside := file.with_name(f"{name.partition('.')[0]}.py")).is_file()
            ]


def answer(instance: Any, x: Any) -> Tensors:
    """What `predict` gives: an array, called `predictions`, or a dict of arrays."""
    result = instance.predict(x)
    named = result if isinstance(result, Mapping) else {"predictions": result}
    return {str(name): np.asarray(array) for name, array in named.items()}


def adapt(instance: Any, options: Mapping[str, Any], signature: Signature) -> PythonModel:
    """The adapter that will serve it."""
    return PythonModel(instance, options, signature)
