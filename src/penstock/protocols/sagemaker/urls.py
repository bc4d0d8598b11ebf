"""The addresses of a SageMaker container with several models."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `models`.

    Example:
        >>> parse(["models", "churn", "invoke"])
        ModelAddress(name='churn', version=None, verb='invocations', label=None)
    """
    match parts[1:]:
        case [name]:
            return ModelAddress(name, None, "held")
        case [name, "invoke"]:
            return ModelAddress(name, None, "invocations")
    return None
