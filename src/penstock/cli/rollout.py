"""`penstock rollout`, `rollback` and `releases`: how versions take over, and the way back."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.answers import answer
from penstock.cli.apply import Progress, leave
from penstock.cli.desk import Server, open_desk
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place, Reason
from penstock.cli.rollout_lines import event_line, release_lines, rollout_line, rollout_lines
from penstock.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from penstock.cli.desk import Desk
    from penstock.control.records import RolloutRecord
    from penstock.rollout.decide import Command
    from penstock.rollout.plan import RolloutPlan

_LOOK_S = 0.5
INCONCLUSIVE = 3
EndpointName = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's name.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    rollout = typer.Typer(help="How a version takes over an endpoint, step by step.", no_args_is_help=True)
    rollout.command(name="list")(spread(list_rollouts))
    for command in (start, status, pause, resume, promote, abort, retry):
        rollout.command()(spread(command))
    app.add_typer(rollout, name="rollout")
    app.command()(spread(rollback))
    app.command()(spread(releases))


def start(
    endpoint: EndpointName,
    model: Annotated[str, typer.Argument(metavar="REF", help="The version: MODEL, MODEL/7 or MODEL@ALIAS.")],
    strategy: Annotated[
        str, typer.Option(help="canary, blue-green, shadow, ab, champion-challenger or all-at-once.")
    ] = "",
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The plan as YAML, as under rollout in penstock.yaml.")
    ] = None,
    reason: Reason = "",
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Let another version take over: gates first, then the plan (default: the endpoint's, else a canary).

    Exit status 3: somebody must approve it first.

    Example: penstock rollout start churn churn/8 --strategy blue-green
    """
    from penstock.control.deploy import Start

    wish = Start(model=model, plan=_plan(strategy, plan), reason=reason)
    with closing(open_desk(place, server)) as desk:
        done = desk.start(endpoint, wish, Progress(silent=as_json).tell)
    answer(done, [f"penstock rollout status {endpoint} tells how far it is"], as_json=as_json)
    leave(done)


def list_rollouts(
    endpoint: Annotated[str, typer.Argument(metavar="[ENDPOINT]", help="Of this endpoint alone.")] = "",
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Show rollouts, the newest first."""
    with closing(open_desk(place, server)) as desk:
        found = desk.rollouts(endpoint)
    answer(found, map(rollout_line, found), as_json=as_json)


def status(
    endpoint: EndpointName,
    number: Annotated[int, typer.Option("--id", metavar="N", help="An earlier rollout of the endpoint.")] = 0,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end, or until it asks somebody.")] = False,
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Show how far a rollout is, what was measured, and every decision with its reason.

    Exit status 3: it asks somebody. With --watch, 1: it went back.
    """
    with closing(open_desk(place, server)) as desk:
        record = newest(desk, endpoint, number)
        told = 0
        while watch and not record.ended and record.rollout.state.hold != "waiting":
            events = desk.rollout_events(record.id)
            if not as_json:
                for event in events[told:]:
                    typer.echo(event_line(event))
            told = len(events)
            time.sleep(_LOOK_S)
            record = newest(desk, endpoint, record.id)
        events = desk.rollout_events(record.id)
    answer({"rollout": record, "events": events}, rollout_lines(record, events[told:]), as_json=as_json)
    if record.rollout.state.hold == "waiting":
        raise typer.Exit(INCONCLUSIVE)
    if watch and record.rollout.state.end not in ("", "promoted"):
        raise typer.Exit(1)


def pause(endpoint: EndpointName, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:
    """Go no further until it is resumed; what is worse still goes back."""
    _command(endpoint, "pause", reason, place, server, as_json=as_json)


def resume(endpoint: EndpointName, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:
    """Go on with a rollout that is paused, or waits for somebody."""
    _command(endpoint, "resume", reason, place, server, as_json=as_json)


def promote(
    endpoint: EndpointName, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False
) -> None:
    """Give the new version all traffic now; without a verdict that takes an approver."""
    _command(endpoint, "promote", reason, place, server, as_json=as_json)


def abort(endpoint: EndpointName, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:
    """Give the old version all traffic again, at once."""
    _command(endpoint, "abort", reason, place, server, as_json=as_json)


def retry(endpoint: EndpointName, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:
    """Begin the rollout again that went back last."""
    with closing(open_desk(place, server)) as desk:
        record = desk.retry(endpoint, reason)
    answer(record, [rollout_line(record)], as_json=as_json)


def rollback(
    endpoint: EndpointName,
    to: Annotated[
        int | None, typer.Option(metavar="GENERATION", help="The release to go to (default: the last other one).")
    ] = None,
    reason: Reason = "",
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Serve at once what was served before: its version, routes, settings, gates and aliases.

    Example: penstock rollback churn --reason "refuses every customer named O'Neil"
    """
    with closing(open_desk(place, server)) as desk:
        record = desk.rollback(endpoint, to, reason)
    answer(record, [rollout_line(record)], as_json=as_json)


def releases(endpoint: EndpointName, *, place: Place, server: Server, as_json: Json = False) -> None:
    """Show what an endpoint was, the newest first: the numbers are what rollback --to takes."""
    with closing(open_desk(place, server)) as desk:
        found = desk.releases(endpoint)
    answer(found, release_lines(found), as_json=as_json)


def _command(endpoint: str, what: Command, reason: str, place: Place, server: Server, *, as_json: bool) -> None:
    with closing(open_desk(place, server)) as desk:
        record = desk.command_rollout(newest(desk, endpoint, 0).id, what, reason)
    answer(record, [rollout_line(record)], as_json=as_json)


def newest(desk: Desk, endpoint: str, number: int) -> RolloutRecord:
    """The newest rollout of an endpoint, or the one with this number; raises NotFound (`unknown-rollout`)."""
    for record in desk.rollouts(endpoint):
        if number in (0, record.id):
            return record
    what = f"no rollout {number}" if number else "no rollout"
    raise NotFound("unknown-rollout", f"{endpoint[:80]!r} has {what}", hint="penstock rollout start begins one")


def _plan(strategy: str, file: Path | None) -> RolloutPlan | None:
    from penstock.rollout.plan import read_plan
    from penstock.storage.yaml_text import read_yaml

    if not strategy and file is None:
        return None
    try:
        said: Any = read_yaml(file.read_text(), str(file)) if file is not None else {}
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound("unknown-file", f"{file} cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise InvalidInput("invalid-rollout", f"{file}: an object was expected", hint="strategy: canary")
    return read_plan({**said, **({"strategy": strategy} if strategy else {})}, str(file or "--strategy"))
