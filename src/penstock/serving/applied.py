"""What each event loop of a node made of its routes, told in a small file to whoever reports it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """The document that one event loop obeys, and the endpoints that it could not change, with the reason of each.

    A document that is not even a document has the problem of the endpoint `*`.
    """

    generation: int
    digest: str
    problems: dict[str, str] = {}


def forget_applied(state: Path) -> None:
    """What an earlier run of the node applied is not served any more."""
    for path in state.glob("applied-*.json"):
        path.unlink(missing_ok=True)


def write_applied(state: Path, index: int, applied: Applied) -> None:
    """Tell what event loop `index` applied."""
    path = state / f"applied-{index}.json"
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(msgspec.json.encode(applied))
    partial.replace(path)


def read_applied(state: Path, processes: int) -> Applied | None:
    """What the node as a whole serves: the oldest document that any of its event loops still obeys, and every problem.

    None until all of them have told something.
    """
    found = each_applied(state, processes)
    if found is None:
        return None
    oldest = min(found, key=lambda applied: applied.generation)
    return msgspec.structs.replace(oldest, problems={k: v for applied in found for k, v in applied.problems.items()})


def each_applied(state: Path, processes: int) -> list[Applied] | None:
    """What each event loop serves; None until all of them have told something."""
    try:
        return [
            msgspec.json.decode((state / f"applied-{index}.json").read_bytes(), type=Applied)
            for index in range(processes)
        ]
    except (OSError, msgspec.DecodeError):
        return None
