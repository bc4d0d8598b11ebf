"""`penstock serve` and `penstock node`.

The node is imported when a command runs: `penstock list` need not wait for what answers requests.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import msgspec
import typer

from penstock.cli.option_groups import spread
from penstock.cli.options import Control, Folders, Home, Place, Serving
from penstock.cli.platforms import Platform, model_of, platform_of
from penstock.cli.registry import open_registry
from penstock.cli.settings import Settings, ensure_home
from penstock.core.digest import canonical_json
from penstock.core.distinct import refuse_duplicate_keys
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.names import check_name
from penstock.core.routes import FORMAT, TOTAL_WEIGHT, Access, Arm, Cache, Endpoint, RouteDocument, read_routes

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle
    from penstock.cli.folders.policy import ModelFolder
    from penstock.serving.settings import Following

# SageMaker kills the container 30 s after it asked it to stop.
CLOUD_DRAIN_S = 25
Isolation = Literal["auto", "inline", "process"]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(serve))
    app.command()(spread(node))


def serve(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A bundle (folder or .penstock file), or NAME@ALIAS or NAME/7 (default: a cloud's).",
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="The endpoint's name (default: the bundle's).")] = "",
    isolation: Annotated[
        Isolation, typer.Option(metavar="auto|inline|process", help="Where the model runs: in the node, or beside it.")
    ] = "auto",
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep answers of a deterministic model for identical calls.")
    ] = False,
    access: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Who may call: the `access` of a route document, JSON."
        ),
    ] = None,
    *,
    folders: Folders,
    serving: Serving,
    home: Home = None,
) -> None:
    """Serve one model until stopped, or folders of versions, which are followed; in a cloud's container what is there.

    Example: penstock serve churn.penstock --port 8080
    """
    watched = folders.models()
    platform = platform_of(os.environ, named=bool(model or watched))
    if (model and watched) or not (model or watched or platform):
        raise typer.BadParameter("give one of MODEL, --model-base-path and --model-config-file")
    if name and watched:
        raise typer.BadParameter("--name is for one MODEL; a folder's is --model-name")
    if platform is not None:
        serving = _placed(serving, platform, context)
    require_key = serving.require_key("this node", keys=access is not None)
    settings = Place(home=home).settings(os.environ)
    ensure_home(settings)
    callers = _read_access(access) if access is not None else None
    if watched:
        _serve_folders(
            watched, settings, serving, isolation, callers, cache=cache, require_key=require_key, platform=platform
        )
    endpoints = {}
    if model or platform is None or not platform.several:
        bundle, version = _find(model or str(model_of(platform)), settings)
        arm = Arm(
            name="main",
            version=version,
            bundle=bundle.digest,
            uri=str(bundle.directory.resolve()),
            weight=TOTAL_WEIGHT,
        )
        endpoint = Endpoint(arms=(arm,), isolation=isolation, cache=Cache() if cache else None)
        endpoints = {name or bundle.manifest.name: endpoint}
    document = RouteDocument(
        format=FORMAT,
        generation=1,
        endpoints=endpoints,
        access=callers,
    )
    # Through the reader: a wrong --name is refused here as it would be in a file.
    text = canonical_json(read_routes(canonical_json(document)))
    place = f"serve-{serving.port}"
    routes = settings.home / "nodes" / place / "served.json"
    _run(settings, routes, place, serving, require_key=require_key, document=text, platform=platform)


def _serve_folders(
    models: tuple[ModelFolder, ...],
    settings: Settings,
    serving: Serving,
    isolation: Isolation,
    access: Access | None,
    *,
    cache: bool,
    require_key: bool,
    platform: Platform | None,
) -> NoReturn:
    from penstock.cli.folders.beside import watching_beside
    from penstock.cli.folders.watch import ROUTES, Watching

    # Not the place of a node that serves one bundle: the generations of its routes begin at 1 each time.
    place = f"models-{serving.port}"
    state = settings.home / "nodes" / place
    watching = Watching(
        models=models, home=str(settings.home), state=str(state), isolation=isolation, cache=cache, access=access
    )
    beside = watching_beside(watching)
    _run(settings, state / ROUTES, place, serving, require_key=require_key, beside=beside, platform=platform)


def node(
    routes: Annotated[Path | None, typer.Option(help="The route document to follow.")] = None,
    name: Annotated[str, typer.Option(help="This node's name: its own state is kept under it.")] = "local",
    *,
    control: Control,
    serving: Serving,
    home: Home = None,
) -> None:
    """Run a node that follows a route document, in a file or at control, and goes on with the last good one.

    Example: penstock node --control http://127.0.0.1:8700 --key-file node.key --name west-1
    """
    if (routes is None) == (not control.control):
        raise typer.BadParameter("give either --routes or --control")
    require_key = serving.require_key("this node", keys=True)
    settings = Place(home=home).settings(os.environ)
    ensure_home(settings)
    followed = settings.home / "nodes" / check_name(name, "node") / "followed.json"
    _run(settings, routes or followed, name, serving, require_key=require_key, following=control.following())


def _placed(serving: Serving, platform: Platform, context: typer.Context) -> Serving:
    """The options as the platform means them, where the command line says nothing.

    Beyond loopback without keys: the platform's proxy asks who calls, and nothing else reaches the container.
    """
    if not _is_given("host", context):
        serving = msgspec.structs.replace(serving, host="0.0.0.0", insecure=True)  # noqa: S104
    if not _is_given("port", context) and platform.port is not None:
        serving = msgspec.structs.replace(serving, port=platform.port)
    return msgspec.structs.replace(serving, model_control=True) if platform.several else serving


def _is_given(option: str, context: typer.Context) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _find(model: str, settings: Settings) -> tuple[Bundle, str]:
    """A bundle and the version it has: by the registry `churn/7`, else the first digits of its digest."""
    from penstock.bundle.bundle import open_bundle

    bundles = settings.home / "bundles"
    path = Path(model)
    if path.exists():
        bundle = open_bundle(path, bundles)
        return bundle, bundle.version
    if model.endswith(".penstock") or "/" in model.partition("/")[2]:
        raise NotFound("unknown-bundle", f"there is no bundle at {model}", hint="penstock pack makes one")
    with open_registry(settings) as registry:
        try:
            version = registry.resolve(model)
        except NotFound as error:
            if error.code != "unknown-model":
                raise
            raise NotFound(
                "unknown-model",
                f"{model} is neither a bundle here nor a registered model",
                hint="penstock pack makes a bundle, penstock list shows what is registered",
            ) from None
        return registry.fetch(version, bundles), version.ref


def _read_access(path: Path) -> Access:
    data = path.read_bytes()
    try:
        access = msgspec.json.decode(data, type=Access)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("invalid-routes", f"{path}: {error}", hint="see docs/formats/routes.md") from None
    refuse_duplicate_keys(data, "invalid-routes", f"{path}: ")
    return access


def _run(
    settings: Settings,
    routes: Path,
    name: str,
    serving: Serving,
    *,
    require_key: bool,
    document: bytes | None = None,
    following: Following | None = None,
    beside: AbstractContextManager[None] | None = None,
    platform: Platform | None = None,
) -> NoReturn:
    from penstock.predlog.writer import RecordingLimits
    from penstock.serving.run import run_node
    from penstock.serving.settings import NodeSettings

    node_settings = NodeSettings(
        routes=routes.absolute(),
        home=settings.home,
        name=check_name(name, "node"),
        host=serving.host,
        port=serving.port,
        grpc_port=serving.grpc_port,
        processes=serving.processes or usable_cores(),
        workers=serving.workers,
        threads=serving.threads,
        allow_pickle=serving.allow_pickle,
        recording=None if serving.no_log else RecordingLimits(),
        tls=serving.tls(),
        require_key=require_key,
        model_control=serving.model_control,
        following=following,
        aliases={} if platform is None else platform.aliases,
        early=platform is not None,
        drain_s=CLOUD_DRAIN_S if platform is not None else 30,
    )
    sys.exit(run_node(node_settings, document, beside))


def usable_cores() -> int:
    """The cores this process may run on: a container's or taskset's limit counts, not the machine's."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
