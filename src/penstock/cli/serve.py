"""`penstock serve` and `penstock node`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.registry import open_registry
from penstock.cli.settings import Settings, read_settings
from penstock.core.errors import InvalidInput, NotFound, Refused

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle

Port = Annotated[int, typer.Option(help="The port to listen on.")]
Host = Annotated[str, typer.Option(help="The address to listen on; any but loopback needs --insecure.")]
Processes = Annotated[int, typer.Option(help="Event loops that share the port; 0 is one per usable core.")]
Workers = Annotated[int, typer.Option(help="Model processes per version, for models that need one.")]
Threads = Annotated[int, typer.Option(help="Threads for models too slow for the event loop.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without keys and TLS.")]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Let model processes open pickles that have a waiver.")
]
Home = Annotated[Path | None, typer.Option(help="Where state is kept (default: $PENSTOCK_HOME or ~/.penstock).")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(serve)
    app.command()(node)


def serve(
    model: Annotated[str, typer.Argument(help="A bundle (folder or .penstock file), or NAME@ALIAS or NAME/7.")],
    name: Annotated[str, typer.Option(help="The endpoint's name (default: the bundle's).")] = "",
    port: Port = 8080,
    host: Host = "127.0.0.1",
    processes: Processes = 0,
    workers: Workers = 1,
    threads: Threads = 1,
    isolation: Annotated[str, typer.Option(help="auto, inline or process.")] = "auto",
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep answers of a deterministic model for identical calls.")
    ] = False,
    insecure: Insecure = False,
    allow_pickle: AllowPickle = False,
    home: Home = None,
) -> None:
    """Serve one model until stopped.

    Example: penstock serve churn.penstock --port 8080
    """
    from penstock.bundle.bundle import open_bundle
    from penstock.core.digest import canonical_json
    from penstock.core.routes import FORMAT, TOTAL_WEIGHT, Arm, Cache, Endpoint, RouteDocument, read_routes

    settings = _settings(home)
    bundles = settings.home / "bundles"
    path = Path(model)
    version = ""
    if path.exists():
        bundle = open_bundle(path, bundles)
    else:
        bundle, version = _registered(model, settings)
    arm = Arm(
        name="main",
        version=version or bundle.version,
        bundle=bundle.digest,
        uri=str(bundle.directory.resolve()),
        weight=TOTAL_WEIGHT,
    )
    endpoint = Endpoint(arms=(arm,), isolation=isolation, cache=Cache() if cache else None)  # type: ignore[arg-type]
    document = RouteDocument(format=FORMAT, generation=1, endpoints={name or bundle.manifest.name: endpoint})
    # Through the reader: a wrong --isolation or --name is refused here as it would be in a file.
    text = canonical_json(read_routes(canonical_json(document)))
    state = settings.home / "nodes" / f"serve-{port}"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    routes = state / "served.json"
    routes.write_bytes(text)
    _run(settings, routes, f"serve-{port}", port, host, processes, workers, threads, insecure, allow_pickle)


def node(
    routes: Annotated[Path, typer.Option(help="The route document to follow.")],
    name: Annotated[str, typer.Option(help="This node's name: its own state is kept under it.")] = "local",
    port: Port = 8080,
    host: Host = "127.0.0.1",
    processes: Processes = 0,
    workers: Workers = 1,
    threads: Threads = 1,
    insecure: Insecure = False,
    allow_pickle: AllowPickle = False,
    home: Home = None,
) -> None:
    """Run a node that follows a route document and goes on with the last good one.

    Example: penstock node --routes routes.json
    """
    _run(_settings(home), routes, name, port, host, processes, workers, threads, insecure, allow_pickle)


def _settings(home: Path | None) -> Settings:
    return read_settings({**os.environ, **({"PENSTOCK_HOME": str(home)} if home is not None else {})})


def _registered(model: str, settings: Settings) -> tuple[Bundle, str]:
    """A registered version's bundle and its name, for example `churn/7`."""
    if model.endswith(".penstock") or "/" in model.partition("/")[2]:
        raise NotFound("unknown-bundle", f"there is no bundle at {model}", hint="penstock pack makes one")
    with open_registry(settings) as registry:
        version = registry.resolve(model)
        return registry.fetch(version, settings.home / "bundles"), f"{version.model}/{version.number}"


def _run(
    settings: Settings, routes: Path, name: str, port: int, host: str, processes: int, workers: int, threads: int,
    insecure: bool, allow_pickle: bool,
) -> None:  # fmt: skip
    from penstock.core.names import check_name
    from penstock.serving.run import run_node
    from penstock.serving.settings import NodeSettings

    if host not in ("127.0.0.1", "::1", "localhost") and not insecure:
        raise Refused(
            "insecure-address", f"{host} is reachable from other machines, and this node has neither keys nor TLS",
            hint="keep 127.0.0.1, or add --insecure",
        )  # fmt: skip
    if min(processes, workers - 1, threads - 1, port) < 0:
        raise InvalidInput(
            "invalid-option", "--port and --processes are not negative; --workers and --threads are at least 1"
        )
    sys.exit(
        run_node(
            NodeSettings(
                routes=routes.absolute(),
                home=settings.home,
                name=check_name(name, "node"),
                host=host,
                port=port,
                processes=processes or usable_cores(),
                workers=workers,
                threads=threads,
                allow_pickle=allow_pickle,
            )
        )
    )


def usable_cores() -> int:
    """The cores this process may run on: a container's or taskset's limit counts, not the machine's."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
