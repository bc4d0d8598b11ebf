"""The addresses that Vertex AI uses where nobody names others."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress

PREDICT, HEALTH = "vertex-predict", "vertex-health"
_VERB = ":predict"


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path `/v1/endpoints/E/deployedModels/D:predict`; without the verb it is the health.

    Neither the endpoint's nor the deployed model's number names a model here.

    Example:
        >>> parse(["v1", "endpoints", "7", "deployedModels", "42:predict"])
        ModelAddress(name=None, version=None, verb='vertex-predict', label=None)
    """
    match parts[1:]:
        case ["endpoints", _, "deployedModels", deployed]:
            verb = PREDICT if deployed.endswith(_VERB) else HEALTH
            return ModelAddress(None, None, verb) if deployed.removesuffix(_VERB) else None
    return None
