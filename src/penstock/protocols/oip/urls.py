"""The addresses of the Open Inference Protocol, and of the form with rows."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress

_VERBS = frozenset({"infer", "ready", "stats", "generate", "generate_stream"})


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `v2`.

    Example:
        >>> parse(["v2", "models", "churn", "versions", "7", "infer"])
        ModelAddress(name='churn', version='7', verb='infer', label=None)
    """
    match parts[1:]:
        # Not a model of that name: the statistics of all of them.
        case ["models", "stats"]:
            return None
        case ["models", name]:
            return ModelAddress(name, None, "metadata")
        case ["models", name, verb] if verb in _VERBS:
            return ModelAddress(name, None, verb)
        case ["models", name, "versions", version]:
            return ModelAddress(name, version, "metadata")
        case ["models", name, "versions", version, verb] if verb in _VERBS:
            return ModelAddress(name, version, verb)
        case ["repository", "models", name, "load" | "unload" as verb]:
            return ModelAddress(name, None, verb)
    return None


def parse_rows(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `predict`."""
    return ModelAddress(parts[1], None, "rows") if len(parts) == 2 else None
