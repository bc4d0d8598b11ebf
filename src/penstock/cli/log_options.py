"""The options of commands that read the prediction log."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.option_groups import OptionGroup
from penstock.cli.options import Home, Place
from penstock.cli.settings import ensure_home

if TYPE_CHECKING:
    from penstock.predlog.table_views import LogPlaces, Selection

_AGO = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

AsOf = Annotated[str, typer.Option(metavar="TIME", help="Show what was known then: nothing that came later.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="End a query that takes longer.")]


class LogPlace(OptionGroup, frozen=True):
    """Where the log is."""

    home: Home = None
    log: Annotated[
        str,
        typer.Option(help="The table: a folder or s3://BUCKET/PREFIX (default: $PENSTOCK_LOG or the home's)."),
    ] = ""

    def places(self) -> LogPlaces:
        """The log these options and the environment name; makes the home if there is none."""
        from penstock.predlog.table_views import open_places

        home = ensure_home(Place(home=self.home).settings(os.environ))
        return open_places(home, self.log or os.environ.get("PENSTOCK_LOG", ""))


class Chosen(OptionGroup, frozen=True):
    """Which part of the log."""

    endpoint: Annotated[str, typer.Option(help="Only this endpoint's records.")] = ""
    since: Annotated[str, typer.Option(metavar="TIME", help="Only from then on: 2026-11-30T08:00Z, 90m or 7d.")] = ""
    until: Annotated[str, typer.Option(metavar="TIME", help="Only before then.")] = ""

    def selection(self, as_of: str = "") -> Selection:
        """The selection that these options mean now."""
        from penstock.predlog.table_views import Selection

        now_s = time.time()
        return Selection(
            endpoint=self.endpoint,
            since=read_time(self.since, "--since", now_s),
            until=read_time(self.until, "--until", now_s),
            as_of=read_time(as_of, "--as-of", now_s),
        )


def read_time(text: str, option: str, now_s: float) -> float | None:
    """Seconds since 1970 for a time as it is typed, UTC without a zone, or for how long ago; None for "".

    Example:
        >>> read_time("1970-01-02", "--since", 0.0), read_time("90m", "--since", 6000.0), read_time("", "--since", 0.0)
        (86400.0, 600.0, None)
    """
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now_s - int(ago[1]) * _SECONDS[ago[2]]
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{option} {text!r} is neither a time like 2026-11-30T08:00Z nor 90m or 7d") from None
