"""The addresses of the Open Inference Protocol, and of the form with rows."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `v2`.

    Example:
        >>> parse(["v2", "models", "churn", "versions", "7", "infer"])
        ModelAddress(name='churn', version='7', verb='infer', label=None)
    """
    match parts[1:]:
        case ["models", name]:
            return ModelAddress(name, None, "metadata")
        case ["models", name, "infer" | "ready" as verb]:
            return ModelAddress(name, None, verb)
        case ["models", name, "versions", version]:
            return ModelAddress(name, version, "metadata")
        case ["models", name, "versions", version, "infer" | "ready" as verb]:
            return ModelAddress(name, version, verb)
    return None


def parse_rows(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `predict`."""
    return ModelAddress(parts[1], None, "rows") if len(parts) == 2 else None
