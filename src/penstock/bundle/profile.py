"""The reference profile: what inputs and outputs looked like when the model was packed, for drift to be measured by.

`docs/formats/bundle.md` specifies the file. Statistics, never rows; of a sensitive column only counts.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput
from penstock.core.signature import Scalar

FORMAT = 1


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """A column of numbers. `quantiles` are those at `levels`; `counts[i]` lies in [edges[i], edges[i+1])."""

    mean: float
    std: float
    min: float
    max: float
    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    infinite: int = 0


class Categories(msgspec.Struct, frozen=True, kw_only=True):
    """A column of categories: the most frequent with their counts, and how many values are none of those."""

    counts: tuple[tuple[Scalar, int], ...]
    other: int
    distinct: int


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column: an input or output, or one column `name[i]` of a matrix."""

    name: str
    datatype: str
    count: int
    nulls: int
    sensitive: bool = False
    numbers: Numbers | None = None
    categories: Categories | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Inputs and outputs of the sample; `quality` is what the model scored on it, when the label was given."""

    format: int
    rows: int
    inputs: tuple[ColumnProfile, ...]
    outputs: tuple[ColumnProfile, ...]
    quality: dict[str, float] = {}


class _FormatOnly(msgspec.Struct):
    format: int


def write_profile(profile: Profile, path: Path) -> None:
    """Write the canonical bytes."""
    path.write_bytes(canonical_json(profile))


def read_profile(path: Path) -> Profile:
    """Read a profile of any released format; raises InvalidInput for a newer or a damaged one."""
    data = path.read_bytes()
    try:
        # Before the rest: what a newer format holds would be reported as damage.
        version = msgspec.json.decode(data, type=_FormatOnly).format
        if version > FORMAT:
            raise InvalidInput("newer-format", f"{path.name} has format {version}, newer than {FORMAT}")
        return msgspec.json.decode(data, type=Profile)
    except msgspec.MsgspecError as error:
        raise InvalidInput("damaged-bundle", f"{path.name} cannot be read: {error}", hint="pack again") from None
