"""`penstock conformance`: whether any server keeps a contract."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from penstock.cli.answers import answer
from penstock.core.errors import InvalidInput

Contract = Literal["oip", "tfserving", "mlflow", "sagemaker", "vertex", "azure"]


def add_commands(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(conformance)


def conformance(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server, like http://127.0.0.1:8080.")],
    contract: Annotated[Contract, typer.Option(help="What it should keep.")] = "oip",
    model: Annotated[str, typer.Option(metavar="NAME", help="The model to ask (default: the first one listed).")] = "",
    example: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="The JSON body of a call that it answers."),
    ] = None,
    identity: Annotated[
        str, typer.Option(metavar="NAME", help="A model that gives back its only input, for cases of exactness.")
    ] = "",
    header: Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header of each request.")] = None,
    health_route: Annotated[
        str, typer.Option(metavar="PATH", envvar="AIP_HEALTH_ROUTE", help="Where Vertex AI would ask for health.")
    ] = "",
    predict_route: Annotated[
        str, typer.Option(metavar="PATH", envvar="AIP_PREDICT_ROUTE", help="Where Vertex AI would ask for predictions.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a server, ours or any other, whether it keeps a contract; status 1 if a case fails.

    Example: penstock conformance http://127.0.0.1:8080 --contract oip
    """
    from penstock.conformance.case import HEALTH_ROUTE, PREDICT_ROUTE, Server
    from penstock.conformance.run import Outcome, run

    def told(outcome: Outcome) -> None:
        if not as_json:
            reason = f": {outcome.reason}" if outcome.reason else ""
            typer.echo(f"{outcome.verdict:8} {outcome.name}  [{outcome.clause}]{reason}")

    server = Server(
        url,
        model=model,
        example=_read(example),
        identity=identity,
        health_route=health_route or HEALTH_ROUTE,
        predict_route=predict_route or PREDICT_ROUTE,
        headers=_headers(header or []),
    )
    try:
        outcomes = run(contract, server, told)
    finally:
        server.close()
    counts = {verdict: sum(one.verdict == verdict for one in outcomes) for verdict in ("passed", "failed", "skipped")}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    answer({**counts, "cases": outcomes}, [said], as_json=as_json)
    sys.exit(int(counts["failed"] > 0))


def _read(path: Path | None) -> object:
    if path is None:
        return None
    try:
        found: object = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInput("invalid-example", f"{path} is no JSON: {error}") from None
    return found


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = [line.partition(":") for line in lines]
    if not all(separator and name.strip() for name, separator, _ in pairs):
        raise typer.BadParameter("a header is written NAME: VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}
