"""Outcomes: what became of a prediction (the true label, or a business metric), told by the request's id.

Nothing is ever changed: a correction is a later outcome for the same request, row and name, and wins from the moment
it is received. So what was known at any past time can be asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.names import check_name
from penstock.core.tensors import Array

Value = bool | int | float | str
LONGEST_TEXT = 4096
LONGEST_ID = 256
_NOT_A_TIME = np.datetime64("NaT", "us")

COLUMNS = {
    "request_id": "VARCHAR",
    "row": "INTEGER",
    "name": "VARCHAR",
    "kind": "VARCHAR",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "observed_at": "TIMESTAMP",
    "received_at": "TIMESTAMP",
    "position": "BIGINT",
}
"""The columns of a file of outcomes; `docs/formats/prediction-table.md` says what each holds."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What became of one predicted row. `observed_at` is when it happened, if somebody knows; UTC without a zone."""

    request_id: str
    value: Value
    row: int = 0
    name: str = "label"
    observed_at: datetime | None = None


class Received(msgspec.Struct, frozen=True):
    """An outcome with its place in the order of receiving: `received_us` since 1970, then `position`."""

    received_us: int
    position: int
    outcome: Outcome


def check_outcome(outcome: Outcome) -> Outcome:
    """Return the outcome if it can be kept; raise InvalidInput (`invalid-outcome`).

    Example:
        >>> check_outcome(Outcome(request_id="r1", value=7, row=-1))
        Traceback (most recent call last):
            ...
        penstock.core.errors.InvalidInput: row -1 is not between 0 and 2147483647 [invalid-outcome]
    """
    request_id, value = outcome.request_id, outcome.value
    if not 0 < len(request_id) <= LONGEST_ID or not request_id.isprintable():
        raise _invalid(f"request_id {request_id[:40]!r} is empty, unprintable or longer than {LONGEST_ID}")
    if not 0 <= outcome.row < 2**31:
        raise _invalid(f"row {outcome.row} is not between 0 and 2147483647")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise _invalid(f"value has {len(value)} characters, more than {LONGEST_TEXT}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _invalid(f"value {value} is not a finite number", hint="leave out what is not known")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise _invalid(f"value {value} does not fit 64 bits")
    check_name(outcome.name, "outcome")
    return outcome


def read_value(text: str) -> Value:
    """A value as it is typed: `true` and `false`, a finite number, or else text.

    Example:
        >>> read_value("1"), read_value("0.5"), read_value("true"), read_value("churned"), read_value("007")
        (1, 0.5, True, 'churned', '007')
    """
    if text in ("true", "false"):
        return text == "true"
    try:
        value = msgspec.json.decode(text, type=int | float)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        # JSON's numbers and no others: 007 is a code and not seven, nan is a word.
        return text
    return value


def outcome_from(fields: dict[str, Any]) -> Outcome:
    """The outcome that plain values describe; raises InvalidInput (`invalid-outcome`)."""
    try:
        return check_outcome(msgspec.convert(fields, Outcome, strict=False))
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except PenstockError as error:
        raise error if error.code == "invalid-outcome" else _invalid(error.message) from None


def columns_of(received: Sequence[Received]) -> dict[str, Array]:
    """The columns `COLUMNS` of these outcomes, as arrays that duckdb takes."""
    outcomes = [entry.outcome for entry in received]
    values = [outcome.value for outcome in outcomes]
    return {
        "request_id": _objects([outcome.request_id for outcome in outcomes]),
        "row": np.array([outcome.row for outcome in outcomes], np.int32),
        "name": _objects([outcome.name for outcome in outcomes]),
        "kind": _objects([_kind(value) for value in values]),
        "number": np.array([np.nan if isinstance(value, str) else float(value) for value in values]),
        "text": _objects([_text(value) for value in values]),
        "observed_at": np.array([_utc(outcome.observed_at) for outcome in outcomes], "datetime64[us]"),
        "received_at": np.array([entry.received_us for entry in received], np.int64).view("datetime64[us]"),
        "position": np.array([entry.position for entry in received], np.int64),
    }


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "text"
    return "bool" if isinstance(value, bool) else "number"


def _text(value: Value) -> str:
    # `repr` keeps every digit of a float, and of an integer beyond 2^53, which `number` cannot.
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def _utc(when: datetime | None) -> Any:
    if when is None:
        return _NOT_A_TIME
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when, "us")


def _objects(values: list[Any]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _invalid(text: str, hint: str = "") -> InvalidInput:
    return InvalidInput("invalid-outcome", text, hint=hint)
