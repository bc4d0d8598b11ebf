"""Versions that a folder of models has and this node was not given, with the reason: a small file tells the node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

FILE = "held-back.json"


class HeldBack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version: on its way (`LOADING`), or given up until it changes (`END`), with what was wrong."""

    state: Literal["LOADING", "END"]
    problem: str = ""
    kind: str = ""


Models = Mapping[str, Mapping[str, HeldBack]]
"""By the model's name, then by the version."""

_decode = msgspec.json.Decoder(dict[str, dict[str, HeldBack]]).decode


def write_held_back(state: Path, models: Models) -> None:
    """Tell the node in whose folder `state` is what is held back now."""
    path = state / FILE
    partial = path.with_name(f"{FILE}.{os.getpid()}.partial")
    partial.write_bytes(msgspec.json.encode(models))
    partial.replace(path)


def read_held_back(state: Path) -> Models:
    """What is held back; nothing where no file tells."""
    try:
        return _decode((state / FILE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return {}
