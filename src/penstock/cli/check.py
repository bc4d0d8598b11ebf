"""`penstock check`: the gates on one bundle or version, for people and for continuous integration.

Exit status: 0 pass, 1 fail, 3 inconclusive.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.answers import answer, tell
from penstock.cli.apply import Progress
from penstock.cli.desk import Server, open_embedded, open_remote
from penstock.cli.environments import ensure_environment
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place
from penstock.cli.registry import find_bundle, is_bundle
from penstock.core.digest import short
from penstock.core.errors import InvalidInput

if TYPE_CHECKING:
    from penstock.cli.settings import Settings
    from penstock.core.verdicts import Report
    from penstock.gates.plan import GatePlan
    from penstock.predlog.table_views import LogPlaces

EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}
_METRIC = re.compile(
    r"(?P<name>\w+)(?P<order>>=|<=)(?:(?P<champion>champion)(?P<margin>[-+][\d.eE]+)?|(?P<number>\S+))"
)

_Texts = list[str]


def add_commands(app: typer.Typer) -> None:
    """Add the command of this file to the program."""
    app.command()(spread(check))


def check(
    candidate: Annotated[str, typer.Argument(metavar="BUNDLE|REF", help="A bundle, or MODEL, MODEL/7, MODEL@ALIAS.")],
    against: Annotated[
        str, typer.Option(metavar="BUNDLE|REF", help="The champion: what callers use now, and what must not be lost.")
    ] = "",
    gates: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Which gates, with what settings.")] = None,
    data: Annotated[Path | None, typer.Option(help="Held-out rows: CSV, Parquet or NPZ.")] = None,
    target: Annotated[str, typer.Option(metavar="COL", help="The column of them that is the true answer.")] = "",
    metric: Annotated[
        _Texts | None,
        typer.Option(metavar="BOUND", help="accuracy>=0.9, mean_squared_error<=4 or roc_auc>=champion-0.01."),
    ] = None,
    slices: Annotated[
        _Texts | None, typer.Option("--slice", metavar="COL", help="Judge each value of this column by itself.")
    ] = None,
    checks: Annotated[
        list[Path] | None, typer.Option(metavar="FILE.py", help="Checks of your own: functions check_*, or pytest.")
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help="The endpoint it is meant for, whose log a replay reads (default: the bundle's name).")
    ] = "",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let model processes open pickles that have a waiver.")
    ] = False,
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Ask every gate about a bundle before it gets traffic; exit 0 pass, 1 fail, 3 inconclusive.

    The report is stored with a registered version. With --server the gates of one run there, with the files sent.

    Example: penstock check new.penstock --against churn@champion --data rows.csv --target left --metric "accuracy>=0.9"
    """
    from penstock.gates.plan import GatePlan, read_plan_file

    plan = read_plan_file(gates) if gates is not None else GatePlan()
    plan = _with_options(plan, data, target, metric or [], slices or [], checks or [])
    # A bundle on disk is checked here, where no server is named outright.
    if server.address and (server.server or not is_bundle(candidate)):
        if allow_pickle or is_bundle(candidate) or (against and is_bundle(against)):
            raise typer.BadParameter("a server checks registered versions alone, and decides about pickles by itself")
        report, kept = _there(candidate, against, endpoint, plan, place, server, silent=as_json), candidate
    else:
        settings = place.settings(os.environ)
        report = _here(candidate, against, endpoint, plan, settings, allow_pickle=allow_pickle, silent=as_json)
        kept = _keep(candidate, plan, report, settings)
    if as_json:
        answer(report, as_json=True)
    else:
        _show(report, candidate)
        if kept:
            tell(f"stored with {kept}; penstock show {kept}")
    raise typer.Exit(EXIT[report.verdict])


def _there(
    candidate: str, against: str, endpoint: str, plan: GatePlan, place: Place, server: Server, *, silent: bool
) -> Report:
    with closing(open_remote(place, server)) as desk:
        from penstock.control.checking import CheckWish

        wish = CheckWish(version=candidate, against=against, endpoint=endpoint, gates=plan)
        return desk.check(wish, Progress(silent=silent).tell)


def _here(
    candidate: str, against: str, endpoint: str, plan: GatePlan, settings: Settings, *, allow_pickle: bool, silent: bool
) -> Report:
    from penstock.gates.candidate import open_candidate
    from penstock.gates.run import run_gates

    with ExitStack() as stack:
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-check-")))
        bundle = find_bundle(candidate, cache, settings)
        champion = find_bundle(against, cache, settings) if against else None
        for needed in (bundle, champion):
            if needed is not None and (failure := ensure_environment(needed, settings.home, tell)):
                tell(f"this machine cannot run {needed.manifest.name}: {failure}")
        opened = open_candidate(
            bundle, settings.home, champion=champion, endpoint=endpoint, allow_pickle=allow_pickle,
            log=_log(settings) if plan.replay is not None else None,
        )  # fmt: skip
        subject = stack.enter_context(opened)
        return run_gates(subject, plan, progress=(lambda gate: None) if silent else lambda gate: tell(f"  {gate} …"))


def _keep(candidate: str, plan: GatePlan, report: Report, settings: Settings) -> str:
    """Store the report with the version; "" for a bundle that is not registered."""
    if is_bundle(candidate):
        return ""
    with closing(open_embedded(settings)) as desk:
        return desk.keep_report(candidate, plan, report)


def _log(settings: Settings) -> LogPlaces:
    from penstock.predlog.table_views import open_places

    return open_places(settings.home, os.environ.get("PENSTOCK_LOG", ""))


def _with_options(
    plan: GatePlan, data: Path | None, target: str, metrics: _Texts, slices: _Texts, checks: list[Path]
) -> GatePlan:
    """The plan with what the options say besides."""
    from penstock.gates.plan import read_plan

    value: dict[str, Any] = msgspec.to_builtins(plan)
    asked: dict[str, Any] = {
        "data": str(data or ""),
        "target": target,
        "slices": slices,
        "metrics": read_bounds(metrics),
    }
    if given := {name: part for name, part in asked.items() if part}:
        quality = (value.get("quality") or {}) | given
        if lacking := [
            f"--{name}".removesuffix("s") for name in ("data", "target", "metrics") if not quality.get(name)
        ]:
            raise InvalidInput("invalid-choice", f"to judge quality, {' and '.join(lacking)} must be given, too")
        value["quality"] = quality
    if checks:
        value["custom"] = {**(value.get("custom") or {}), "files": [str(path) for path in checks]}
    return read_plan(value, "the command line")


def read_bounds(texts: list[str]) -> dict[str, dict[str, float]]:
    """Bounds as they are typed, by metric; raises InvalidInput (`invalid-choice`).

    Example:
        >>> read_bounds(["accuracy>=0.9", "accuracy>=champion-0.01", "max_error<=champion+2"])
        {'accuracy': {'min': 0.9, 'not_worse_than': 0.01}, 'max_error': {'not_worse_than': 2.0}}
    """
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        match = _METRIC.fullmatch(text.replace(" ", ""))
        try:
            if match is None:
                raise ValueError
            greater = match["order"] == ">="
            number = float(match["number"] or match["margin"] or 0)
            if match["champion"] and number and (number < 0) is not greater:
                raise ValueError
        except ValueError:
            raise InvalidInput(
                "invalid-choice", f"--metric {text!r} is no bound",
                hint="write accuracy>=0.9, mean_squared_error<=4, roc_auc>=champion-0.01",
            ) from None  # fmt: skip
        kind = "not_worse_than" if match["champion"] else "min" if greater else "max"
        found.setdefault(match["name"], {})[kind] = abs(number) if match["champion"] else number
    return found


def _show(report: Report, candidate: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
    table = Table(title=f"{candidate} ({short(report.bundle)}): {report.verdict}", title_justify="left")
    for heading in ("gate", "verdict", "what was found"):
        table.add_column(heading, no_wrap=heading != "what was found")
    for finding in report.findings:
        # As text: what a model or a check says may look like markup.
        table.add_row(finding.gate, Text(finding.verdict, colours[finding.verdict]), Text(finding.summary))
    Console().print(table)
    if report.verdict == "inconclusive":
        typer.echo("inconclusive is no pass: give more data, or have somebody approve it")
