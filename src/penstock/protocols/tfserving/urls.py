"""The addresses of TensorFlow Serving: `/v1/models/NAME[/versions/N|/labels/LABEL]`, then `/metadata` or `:VERB`."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress

# By what stands in the address. The names are the forms' and pages', which share one table with other contracts.
VERBS = {"predict": "tf-predict", "classify": "tf-classify", "regress": "tf-regress"}


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `v1`, `models`.

    Example:
        >>> parse(["v1", "models", "churn", "versions", "7:predict"])
        ModelAddress(name='churn', version='7', verb='tf-predict', label=None)
        >>> parse(["v1", "models", "churn", "labels", "stable", "metadata"])
        ModelAddress(name='churn', version=None, verb='tf-metadata', label='stable')
    """
    rest = parts[2:]
    if len(rest) > 1 and rest[-1] == "metadata":
        verb = "tf-metadata"
        rest = rest[:-1]
    else:
        last, colon, said = (rest[-1] if rest else "").rpartition(":")
        if colon and said not in VERBS:
            return None
        verb = VERBS[said] if colon else "tf-status"
        rest = [*rest[:-1], last] if colon else rest
    match rest:
        case [name] if name:
            return ModelAddress(name, None, verb)
        case [name, "versions", version] if name and version:
            return ModelAddress(name, version, verb)
        case [name, "labels", label] if name and label:
            return ModelAddress(name, None, verb, label)
    return None
