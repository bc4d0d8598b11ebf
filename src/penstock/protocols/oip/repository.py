"""The model repository extension: what is there, and the bodies of load and unload.

Source: Open Inference Protocol, `extension_model_repository.md`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from penstock.core.errors import InvalidInput

_encode = msgspec.json.Encoder().encode
Wish = TypeVar("Wish")


class RepositoryModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version in the index. `state` is READY or UNAVAILABLE, `reason` why it is not ready."""

    name: str
    version: str
    state: str
    reason: str = ""


class _IndexWish(msgspec.Struct):
    ready: bool = False


class _LoadWish(msgspec.Struct):
    parameters: dict[str, Any] = {}


def index_wish(body: bytes) -> bool:
    """Whether only what is ready is asked for; raises InvalidInput."""
    return _read(body, _IndexWish).ready


def check_load(body: bytes) -> None:
    """Raise InvalidInput for a wish to load something else than the version that is routed."""
    parameters = _read(body, _LoadWish).parameters
    asked = sorted(name for name in parameters if name == "config" or name.startswith("file:"))
    if asked:
        raise InvalidInput(
            "load-as-routed", f"a model is loaded as the routes have it, not with {', '.join(asked)[:200]}",
            hint="pack another version and serve it",
        )  # fmt: skip


def check_unload(body: bytes) -> None:
    """Raise InvalidInput for a body that is no wish to unload; no model here has dependents."""
    _read(body, _LoadWish)


def index(models: list[RepositoryModel]) -> bytes:
    """The body of the index."""
    return _encode([msgspec.structs.asdict(model) for model in models])


def _read(body: bytes, kind: type[Wish]) -> Wish:
    if not body.strip():
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-json", f"the body is not what this address takes: {str(error)[:300]}") from None
