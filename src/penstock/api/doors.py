"""What the doors work on, as one value of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import Request

from penstock.control.control import Control
from penstock.security.failures import Failures
from penstock.security.identity import Identity

if TYPE_CHECKING:
    from penstock.api.access import Rates
    from penstock.api.watch import RoutesWatch

# Says what happened: a name and fields, for the log.
Event = Callable[..., None]


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """Control and what stands around it.

    `spool` is where uploads wait, `continue_soon` is told that an operation wants to go on, `verify_token` knows the
    tokens of the configured issuer, `post_outcomes` takes a batch of outcomes,
    `origins_of` knows which endpoints answered a request; `stopping` ends every long poll.
    """

    control: Control
    watch: RoutesWatch
    rates: Rates
    failures: Failures
    event: Event
    spool: Path
    stopping: asyncio.Event
    continue_soon: Callable[[], None]
    verify_token: Callable[[str], Identity] | None = None
    post_outcomes: Callable[[list[Any]], Any] | None = None
    origins_of: Callable[[set[str]], Mapping[str, set[str]]] | None = None


def doors_of(request: Request) -> Doors:
    """The doors' state of the application that got this request."""
    found: Doors = request.app.state.doors
    return found
