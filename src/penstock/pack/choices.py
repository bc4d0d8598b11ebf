"""What the person who packs decides or tells, apart from the model and its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.core.errors import InvalidInput
from penstock.core.names import check_name


class Choices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's `name`; everything else has a default.

    `flavor` is which of an MLflow model's flavors is packed; `target` is the label's column; `dtypes` overrides what
    columns are read as; values of `sensitive` columns are stored nowhere; `allow_pickle` is the reason why a pickle may
    be opened once; `assets` is the folder a Python class loads from; `vendor` puts the wheels of the environment into
    the bundle; without `convert` the original is served though it has an equal ONNX form; `licence`, `metrics` and
    `parameters` are recorded.
    """

    name: str
    target: str = ""
    flavor: str = ""
    dtypes: dict[str, str] = {}
    sensitive: tuple[str, ...] = ()
    allow_pickle: str = ""
    assets: str = ""
    vendor: bool = False
    convert: bool = True
    licence: str = ""
    metrics: dict[str, float] = {}
    parameters: dict[str, Any] = {}


def make_choices(name: str, given: Mapping[str, Any]) -> Choices:
    """Check what was given; raises InvalidInput("invalid-choice") and ("invalid-name").

    Example:
        >>> make_choices("churn", {"target": "left"}).target
        'left'
    """
    try:
        choices = msgspec.convert({"name": name, **{k: v for k, v in given.items() if v is not None}}, Choices)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidInput(
            "invalid-choice",
            f"pack cannot use what it was told: {error}",
            hint=f"besides the model and the sample it takes {', '.join(Choices.__struct_fields__)}",
        ) from None
    check_name(choices.name, "model")
    return choices
