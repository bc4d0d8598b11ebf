"""`penstock experiment`: how much traffic a verdict takes, and how often it is wrong."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from penstock.cli.answers import answer
from penstock.cli.desk import Server, open_desk
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place
from penstock.cli.report_page import write_report
from penstock.cli.rollout import EndpointName, newest
from penstock.cli.rollout_lines import arm_lines, disagreement_lines, judgement_lines, rollout_line
from penstock.core.errors import InvalidInput, Unsupported


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    experiment = typer.Typer(help="Verdicts on versions, and what they take.", no_args_is_help=True)
    experiment.command()(spread(simulate))
    experiment.command()(spread(report))
    app.add_typer(experiment, name="experiment")


def simulate(
    metric: Annotated[
        Literal["rate", "mean", "quantile"], typer.Option(help="What is measured of each version.")
    ] = "rate",
    baseline: Annotated[float, typer.Option(help="The old version's rate, mean or quantile.")] = 0.07,
    effect: Annotated[
        str,
        typer.Option(
            metavar="E",
            help="What the new version has more: added to a rate or mean, a part of a quantile (0.2 is 20 % more); "
            "x1.2 multiplies any of them.",
        ),
    ] = "0",
    runs: Annotated[int, typer.Option(metavar="N", help="How many rollouts.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="The same seed gives the same answer.")] = 1,
    alpha: Annotated[float, typer.Option(help="The stated chance that a verdict is wrong, ever.")] = 0.05,
    quantile: Annotated[float, typer.Option(help="Which quantile.")] = 0.99,
    sigma: Annotated[float, typer.Option(help="How much lognormal values vary (of their logarithms).")] = 0.5,
    share: Annotated[float, typer.Option(help="The new version's part of the traffic.")] = 0.5,
    correlated: Annotated[
        bool, typer.Option("--correlated", help="Calls come from units that make 1 to 200 each; samples are units.")
    ] = False,
    batch: Annotated[int, typer.Option(metavar="N", help="Judge after so many samples of each arm.")] = 200,
    most_samples: Annotated[int, typer.Option(metavar="N", help="End inconclusive after so many.")] = 12_000,
    better: Annotated[Literal["lower", "higher"], typer.Option(help="Which direction is better.")] = "lower",
    *,
    as_json: Json = False,
) -> None:
    """Judge made-up rollouts with the judge of real ones: how often and how soon a difference is found.

    With --effect 0 whatever is found is wrong: the share of it is at most alpha.

    Example: penstock experiment simulate --metric rate --baseline 0.07 --effect 0.02 --runs 200
    """
    try:
        from penstock.rollout.simulate import Traffic, simulate
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"verdicts need {error.name}", hint="pip install 'penstock[judge]'"
        ) from error
    traffic = Traffic(
        metric=metric, baseline=baseline, effect=read_effect(effect, metric, baseline), quantile=quantile, sigma=sigma,
        share=share, correlated=correlated, batch=batch, most_samples=most_samples,
        higher_is_better=better == "higher",
    )  # fmt: skip
    found = simulate(traffic, runs=runs, seed=seed, alpha=alpha)
    counted = ("better", "worse", "inconclusive")
    lines = [f"{name:<13} {getattr(found, name):>6} of {found.runs}" for name in counted]
    if found.median_samples is not None:
        lines.append(f"samples       {found.median_samples:g} (median), {found.p95_samples:g} (95 of 100), in each arm")
    answer(msgspec.to_builtins(found), lines, as_json=as_json)


def report(
    endpoint: EndpointName,
    number: Annotated[int, typer.Option("--id", metavar="N", help="An earlier rollout of the endpoint.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as .html or .png, with a plot of every metric.")
    ] = None,
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Show a rollout as its log shows it: facts of each step and arm, verdicts, and where answers differ.

    Example: penstock experiment report churn --out churn.html
    """
    with closing(open_desk(place, server)) as desk:
        record = newest(desk, endpoint, number)
        found, events = desk.report(record.id), desk.rollout_events(record.id)
    if out is not None:
        write_report(out, record, found, events)
    lines = [
        *arm_lines(found.arms),
        *judgement_lines(found.judgement),
        *disagreement_lines(found.disagreement),
        rollout_line(record),
    ]
    answer({"rollout": record, "report": found, "events": events}, lines, as_json=as_json)


def read_effect(text: str, metric: str, baseline: float) -> float:
    """An effect as it is typed, as `Traffic` wants it; raises InvalidInput (`invalid-choice`).

    Example:
        >>> read_effect("0.02", "rate", 0.07), read_effect("x1.5", "mean", 10.0), read_effect("x1.5", "quantile", 10.0)
        (0.02, 5.0, 0.5)
    """
    try:
        if not text.startswith("x"):
            return float(text)
        more = float(text[1:]) - 1
        return more if metric == "quantile" else more * baseline
    except ValueError:
        raise InvalidInput("invalid-choice", f"--effect {text!r} is no effect", hint="0.02, -0.01 or x1.2") from None
