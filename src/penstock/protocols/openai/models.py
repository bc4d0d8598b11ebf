"""The list of models, and one of them, as OpenAI's clients read them."""

from __future__ import annotations

from typing import Any

import msgspec


def model_object(name: str) -> dict[str, Any]:
    """One model. When it was made is not known to a node, so `created` is 0."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


def model_list(names: list[str]) -> bytes:
    """The body of `GET /v1/models`.

    Example:
        >>> model_list(["churn"])
        b'{"object":"list","data":[{"id":"churn","object":"model","created":0,"owned_by":"penstock"}]}'
    """
    return msgspec.json.encode({"object": "list", "data": [model_object(name) for name in names]})
