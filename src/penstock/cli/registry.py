"""`penstock register`, `list`, `show`, `alias`, `history`, `tag`, `retire`, `gc` and `audit`.

The database library is imported when a command runs: `penstock serve` shares this program and must start fast.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from penstock.cli.answers import answer, counted, tell
from penstock.cli.control_lines import approval_line
from penstock.cli.desk import open_embedded
from penstock.cli.environments import ensure_environment
from penstock.cli.option_groups import spread
from penstock.cli.options import BundlePath, Expect, Json, Metrics, Model, Place, Reason, Ref, Tags
from penstock.cli.pairs import read_metrics, read_pairs
from penstock.cli.records import event_line, model_line, report_line, verification_lines, version_line, version_lines
from penstock.cli.settings import Settings, ensure_home
from penstock.core.errors import Unsupported
from penstock.core.names import parse_version_ref

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle
    from penstock.registry.registry import Registry


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(spread(register))
    app.command("list")(spread(list_))
    for command in (show, alias, history, tag, retire, gc):
        app.command()(spread(command))
    audit = typer.Typer(help="The append-only, hash-chained log of every change.", no_args_is_help=True)
    audit.command("verify")(spread(audit_verify))
    audit.command("list")(spread(audit_list))
    app.add_typer(audit, name="audit")


def open_registry(settings: Settings) -> Registry:
    """The registry these settings name; raises Unsupported (`missing-extra`) where the database library is missing."""
    try:
        from penstock.registry.registry import Registry
        from penstock.storage.locate import open_blobs
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"the registry needs {error.name}", hint="pip install 'penstock[control]'"
        ) from error
    ensure_home(settings)
    return Registry.open(settings.database_url, open_blobs(settings.artifacts_url), actor=settings.actor)


def is_bundle(text: str) -> bool:
    """Whether a word means a bundle on disk, and not a registered version."""
    from penstock.bundle.bundle import SUFFIX

    return text.endswith(SUFFIX) or Path(text).exists()


def find_bundle(text: str, cache: Path, settings: Settings) -> Bundle:
    """The bundle at a path, unpacked in `cache`, or that of a registered version."""
    from penstock.bundle.bundle import open_bundle

    if is_bundle(text):
        return open_bundle(Path(text), cache)
    with open_registry(settings) as registry:
        return registry.fetch(registry.resolve(text), settings.home / "bundles")


def register(
    bundle: BundlePath,
    name: Annotated[str, typer.Option(help="The model's name (default: the bundle's).")] = "",
    alias: Annotated[str, typer.Option(help="Point this alias at the version, in the same step.")] = "",
    expect: Expect = "",
    tag: Tags = None,
    metric: Metrics = None,
    reason: Reason = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Give a bundle the next version number of its model.

    Example: penstock register churn.penstock --alias challenger --tag data=2026-w14
    """
    # Read before anything is opened: a typing error must not create a database.
    options: dict[str, Any] = {
        "expected": _expected(expect),
        "tags": read_pairs(tag, "--tag"),
        "metrics": read_metrics(metric, "--metric"),
    }
    settings = place.settings(os.environ)
    with open_registry(settings) as registry:
        version = registry.register(bundle, name=name, alias=alias, reason=reason, **options)
        failure = ensure_environment(registry.fetch(version, settings.home / "bundles"), settings.home, tell)
    if failure:
        tell(f"{version.ref} is registered, but this machine cannot run it: {failure}")
    answer(version, [version_line(version)], as_json=as_json)


def list_(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="List this model's versions.")] = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """List models, or one model's versions, the newest first."""
    with _open(place) as registry:
        if model:
            versions = registry.versions(model)
            answer(versions, map(version_line, versions), as_json=as_json)
            return
        models = registry.models()
    answer(models, map(model_line, models), as_json=as_json)
    if not models and not as_json:
        tell("nothing is registered here yet; penstock register BUNDLE")


def show(ref: Ref, *, place: Place, as_json: Json = False) -> None:
    """Show everything about one version, and what gates found about it."""
    with _open(place) as registry:
        version = registry.get(parse_version_ref(ref))
    with closing(open_embedded(place.settings(os.environ))) as desk:
        reports = desk.reports(version.ref)
    facts = {**msgspec.to_builtins(version), "gates": reports}
    answer(facts, [*version_lines(version), *map(report_line, reports)], as_json=as_json)


def alias(
    model: Model,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="For example champion.")],
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1, help="The version's number.")] = None,
    expect: Expect = "",
    delete: Annotated[bool, typer.Option("--delete", help="Take the alias away.")] = False,
    reason: Reason = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Point an alias at a version, or take it away. Exit status 3: it is protected, and somebody must approve.

    Example: penstock alias churn champion 8 --expect 7 --reason "0.02 better on w14"
    """
    if delete == (version is not None):
        raise typer.BadParameter("give either VERSION or --delete")
    expected = _expected(expect)
    asked = None
    if version is None:
        with _open(place) as registry:
            registry.delete_alias(model, alias, expected=expected, reason=reason)
        text = f"{model}@{alias} is gone"
    else:
        with closing(open_embedded(place.settings(os.environ))) as desk:
            asked = desk.set_alias(model, alias, version, expected, reason)
        text = approval_line(asked) if asked is not None else f"{model}@{alias} -> {model}/{version}"
    waits = asked.id if asked is not None else None
    answer({"model": model, "alias": alias, "version": version, "approval": waits}, [text], as_json=as_json)
    if asked is not None:
        raise typer.Exit(3)


def history(model: Model, *, place: Place, as_json: Json = False) -> None:
    """Show what happened to a model, its versions and aliases, oldest first."""
    with _open(place) as registry:
        events = registry.history(model)
    answer(events, map(event_line, events), as_json=as_json)


def tag(
    ref: Ref,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Tags to set.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Take a tag away.")] = None,
    metric: Metrics = None,
    reason: Reason = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Add, replace or remove tags of a version, or add metrics to it."""
    changes: dict[str, str | None] = {**read_pairs(tags, "KEY=VALUE"), **dict.fromkeys(remove or [])}
    numbers = read_metrics(metric, "--metric")
    if both := {text.partition("=")[0] for text in tags or []} & set(remove or []):
        raise typer.BadParameter(f"{', '.join(sorted(both))}: both set and removed")
    if not changes and not numbers:
        raise typer.BadParameter("give KEY=VALUE, --remove KEY or --metric KEY=VALUE")
    with _open(place) as registry:
        version = registry.set_entries(parse_version_ref(ref), tags=changes, metrics=numbers, reason=reason)
    answer(version, [version_line(version)], as_json=as_json)


def retire(
    ref: Ref,
    undo: Annotated[bool, typer.Option("--undo", help="Take the mark away.")] = False,
    reason: Reason = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Mark a version as one that no alias may point at any more."""
    with _open(place) as registry:
        version = registry.retire(parse_version_ref(ref), retired=not undo, reason=reason)
    answer(version, [version_line(version)], as_json=as_json)


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are counted.")] = False,
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Count or delete stored artifacts that nothing in this database names."""
    with _open(place) as registry:
        found = registry.collect_garbage(delete=delete)
    text = "deleted" if delete else "named by nothing; --delete deletes what this counts"
    answer({"unnamed": found, "deleted": delete}, [f"{counted(found, 'artifact')} {text}"], as_json=as_json)


def audit_verify(
    head: Annotated[str, typer.Option(help="A hash noted down earlier, which the log must still hold.")] = "",
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """Walk the audit log's chain, hold it against the tables, and name the first fault; exit 1 if there is one."""
    with closing(open_embedded(place.settings(os.environ))) as desk:
        found = desk.verify_audit(head)
    answer({**msgspec.to_builtins(found), "whole": found.whole}, verification_lines(found), as_json=as_json)
    if not found.whole:
        raise typer.Exit(1)


def audit_list(
    after: Annotated[int, typer.Option(metavar="N", help="Only events with a greater number.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 1000,
    *,
    place: Place,
    as_json: Json = False,
) -> None:
    """List the audit log, oldest first."""
    with _open(place) as registry:
        events = registry.events(after=after, limit=limit)
    answer(events, map(event_line, events), as_json=as_json)


def _open(place: Place) -> Registry:
    return open_registry(place.settings(os.environ))


def _expected(text: str) -> int | Literal["absent"] | None:
    if text == "none":
        return "absent"
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise typer.BadParameter(f"--expect {text!r} is neither a version number nor none")
    return int(text) if text else None
