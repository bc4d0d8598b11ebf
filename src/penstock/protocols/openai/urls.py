"""The addresses of OpenAI's API: below `/openai/v1`, and below `/v1` what no other contract has there."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `openai`.

    Example:
        >>> parse(["openai", "v1", "models", "words"])
        ModelAddress(name='words', version=None, verb='openai-model', label=None)
    """
    return parse_v1(parts[1:]) if parts[1:2] == ["v1"] else None


def parse_v1(parts: list[str]) -> ModelAddress | None:
    """The same of one that begins with `v1`."""
    match parts[1:]:
        case ["embeddings"]:
            # The body names the model.
            return ModelAddress(None, None, "embeddings")
        case ["models", name]:
            return ModelAddress(name, None, "openai-model")
    return None
