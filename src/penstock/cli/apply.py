"""`penstock plan`, `apply`, `approve` and `refuse`: from `penstock.yaml` to what nodes serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.answers import answer, tell
from penstock.cli.control_lines import approval_line, convergence_lines, plan_lines
from penstock.cli.desk import DEFAULT_FILE, Server, open_desk
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place, Reason
from penstock.core.clock import monotonic
from penstock.core.errors import Unavailable

if TYPE_CHECKING:
    from penstock.cli.desk import Desk
    from penstock.control.records import Convergence, Operation

_LOOK_S = 0.2
INCONCLUSIVE = 3

File = Annotated[Path, typer.Argument(metavar="[FILE]", help="What should be (default: penstock.yaml).")]
Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="The approval's number, from penstock status.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (plan, apply, approve, refuse):
        app.command()(spread(command))


def plan(file: File = DEFAULT_FILE, *, place: Place, server: Server, as_json: Json = False) -> None:
    """Show what apply would change; changes nothing.

    Example: penstock plan penstock.yaml
    """
    with closing(open_desk(place, server)) as desk:
        made = desk.plan(file)
    answer(made, plan_lines(made), as_json=as_json)


def apply(
    file: File = DEFAULT_FILE,
    reason: Reason = "",
    expect: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Refuse if somebody applied after generation N.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every node serves it.")] = False,
    wait_s: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long --wait waits.")] = 300,
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Make what the file says so: gates first, then one new generation, all of it or nothing.

    Exit status 3: somebody must approve it first.

    Example: penstock apply penstock.yaml --reason "better on week 14" --wait
    """
    with closing(open_desk(place, server)) as desk:
        done = desk.apply(file, expected_generation=expect, reason=reason, tell=Progress(silent=as_json).tell)
        served = _wait(desk, done.generation, wait_s) if wait and done.generation is not None else None
    lines = convergence_lines(served) if served is not None else ()
    answer({"operation": done, "nodes": served}, lines, as_json=as_json)
    leave(done, served)


def approve(id: Number, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:  # noqa: A002 - the argument's name
    """Let a change happen that waits for somebody.

    Example: penstock approve 3 --reason "looked at the slices"
    """
    with closing(open_desk(place, server)) as desk:
        decided = desk.approve(id, reason)
    answer(decided, [approval_line(decided)], as_json=as_json)


def refuse(id: Number, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:  # noqa: A002 - the argument's name
    """Do not let a change happen that waits for somebody."""
    with closing(open_desk(place, server)) as desk:
        decided = desk.refuse(id, reason)
    answer(decided, [approval_line(decided)], as_json=as_json)


class Progress:
    """Tells each step of an operation once."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._told = 0

    def tell(self, operation: Operation) -> None:
        """Tell what is new."""
        for step in operation.progress[self._told :]:
            if not self._silent:
                tell(f"  {step.text}")
        self._told = len(operation.progress)


def _wait(desk: Desk, generation: int, wait_s: float) -> Convergence:
    found: Convergence | None = None
    for found in _looks(desk, generation, wait_s):
        if found.done or (found.refused and not found.behind):
            return found
    assert found is not None  # noqa: S101 - there is always one look
    late = ", ".join(found.behind) or "no node was heard of"
    raise Unavailable(
        "not-converged", f"generation {generation} is applied, but not served yet: {late}", hint="penstock status"
    )


def _looks(desk: Desk, generation: int, wait_s: float) -> Iterator[Convergence]:
    end = monotonic() + wait_s
    while True:
        yield desk.converged(generation)
        if monotonic() > end:
            return
        time.sleep(_LOOK_S)


def leave(done: Operation, served: Convergence | None = None) -> None:
    """End the command as the operation ended: with its error, or the status that says that somebody is asked."""
    if done.state == "waiting-approval":
        tell(f"penstock approve {done.approval} lets it happen, penstock refuse {done.approval} does not")
        raise typer.Exit(INCONCLUSIVE)
    if done.error is not None:
        raise done.error.error()
    if served is not None and served.refused:
        raise typer.Exit(1)
