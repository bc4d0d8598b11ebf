"""`penstock register`, `list`, `show`, `alias`, `history`, `tag`, `retire`, `gc` and `audit`.

The database library is imported when a command runs: `penstock serve` shares this program and must start fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from penstock.cli.environments import ensure_environment
from penstock.cli.settings import Settings, ensure_home, read_settings
from penstock.core.errors import Unsupported
from penstock.core.names import parse_version_ref

if TYPE_CHECKING:
    from penstock.registry.records import Event, Version
    from penstock.registry.registry import Registry

Home = Annotated[Path | None, typer.Option(help="Where state is kept (default: $PENSTOCK_HOME or ~/.penstock).")]
Database = Annotated[
    str, typer.Option(help="sqlite:///PATH or postgresql://... (default: $PENSTOCK_DATABASE or a file in the home).")
]
Artifacts = Annotated[
    str, typer.Option(help="A folder or s3://BUCKET/PREFIX (default: $PENSTOCK_ARTIFACTS or a folder in the home).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Reason = Annotated[str, typer.Option(help="Why; it is written into the audit log.")]
Expect = Annotated[str, typer.Option(metavar="N|none", help="Refuse unless the alias points there now.")]
Pairs = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE")]
Ref = Annotated[str, typer.Argument(metavar="REF", help="MODEL, MODEL/7 or MODEL@ALIAS.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (register, show, alias, history, tag, retire, gc):
        app.command()(command)
    app.command("list")(list_)
    audit = typer.Typer(help="The append-only, hash-chained log of every change.", no_args_is_help=True)
    audit.command("verify")(audit_verify)
    audit.command("list")(audit_list)
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


def register(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a .penstock file.")],
    name: Annotated[str, typer.Option(help="The model's name (default: the bundle's).")] = "",
    alias: Annotated[str, typer.Option(help="Point this alias at the version, in the same step.")] = "",
    expect: Expect = "",
    tag: Pairs = None,
    metric: Pairs = None,
    reason: Reason = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Give a bundle the next version number of its model.

    Example: penstock register churn.penstock --alias challenger --tag data=2026-w14
    """
    # Read before anything is opened: a typing error must not create a database.
    options: dict[str, Any] = {
        "expected": _expected(expect),
        "tags": _pairs(tag, "--tag"),
        "metrics": _numbers(metric),
    }
    settings = _settings(home, database, artifacts)
    with open_registry(settings) as registry:
        version = registry.register(bundle, name=name, alias=alias, reason=reason, **options)
        failure = ensure_environment(registry.fetch(version, settings.home / "bundles"), settings.home, _tell)
    if failure:
        _tell(f"{_line(version)} is registered, but this machine cannot run it: {failure}")
    _answer(version, as_json, lambda: [_line(version)])


def list_(
    model: Annotated[str, typer.Argument(help="List this model's versions.")] = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """List models, or one model's versions, the newest first."""
    with _open(home, database, artifacts) as registry:
        if model:
            versions = registry.versions(model)
            _answer(versions, as_json, lambda: map(_line, versions))
            return
        models = registry.models()
    _answer(
        models,
        as_json,
        lambda: (
            f"{one.name:<24} {one.versions:>4} version{'s' if one.versions > 1 else ' '}  "
            + ", ".join(f"{name}={number}" for name, number in one.aliases.items())
            for one in models
        ),
    )


def show(
    ref: Ref, home: Home = None, database: Database = "", artifacts: Artifacts = "", as_json: Json = False
) -> None:
    """Show everything about one version."""
    with _open(home, database, artifacts) as registry:
        version = registry.get(parse_version_ref(ref))
    _answer(version, as_json, lambda: _details(version))


def alias(
    model: Annotated[str, typer.Argument()],
    alias: Annotated[str, typer.Argument()],
    version: Annotated[int | None, typer.Argument(min=1)] = None,
    expect: Expect = "",
    delete: Annotated[bool, typer.Option("--delete", help="Take the alias away.")] = False,
    reason: Reason = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Point an alias at a version, or take it away.

    Example: penstock alias churn champion 8 --expect 7 --reason "0.02 better on w14"
    """
    if delete == (version is not None):
        raise typer.BadParameter("give either VERSION or --delete")
    expected = _expected(expect)
    with _open(home, database, artifacts) as registry:
        if version is None:
            registry.delete_alias(model, alias, expected=expected, reason=reason)
        else:
            registry.set_alias(model, alias, version, expected=expected, reason=reason)
    text = f"{model}@{alias} -> {model}/{version}" if version else f"{model}@{alias} is gone"
    _answer({"model": model, "alias": alias, "version": version}, as_json, lambda: [text])


def history(
    model: Annotated[str, typer.Argument()],
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Show what happened to a model, its versions and aliases, oldest first."""
    with _open(home, database, artifacts) as registry:
        events = registry.history(model)
    _answer(events, as_json, lambda: map(_event_line, events))


def tag(
    ref: Ref,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Take a tag away.")] = None,
    metric: Pairs = None,
    reason: Reason = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Add, replace or remove tags of a version, or add metrics to it."""
    changes: dict[str, str | None] = {**_pairs(tags, "KEY=VALUE"), **dict.fromkeys(remove or [])}
    numbers = _numbers(metric)
    if not changes and not numbers:
        raise typer.BadParameter("give KEY=VALUE, --remove KEY or --metric KEY=VALUE")
    with _open(home, database, artifacts) as registry:
        version = registry.set_entries(parse_version_ref(ref), tags=changes, metrics=numbers, reason=reason)
    _answer(version, as_json, lambda: [_line(version)])


def retire(
    ref: Ref,
    undo: Annotated[bool, typer.Option("--undo", help="Take the mark away.")] = False,
    reason: Reason = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Mark a version as one that no alias may point at any more."""
    with _open(home, database, artifacts) as registry:
        version = registry.retire(parse_version_ref(ref), retired=not undo, reason=reason)
    _answer(version, as_json, lambda: [_line(version)])


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are counted.")] = False,
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Count or delete stored artifacts that no version in this database names."""
    with _open(home, database, artifacts) as registry:
        found = registry.collect_garbage(delete=delete)
    text = (
        f"{found} artifacts deleted" if delete else f"{found} artifacts are named by no version; --delete deletes them"
    )
    _answer({"unnamed": found, "deleted": delete}, as_json, lambda: [text])


def audit_verify(
    head: Annotated[str, typer.Option(help="A hash noted down earlier, which the log must still hold.")] = "",
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """Walk the audit log's chain, hold it against the tables, and name the first fault; exit 1 if there is one."""
    with _open(home, database, artifacts) as registry:
        found = registry.verify_audit(head)
    text = f"{found.events} events, unbroken\nhead {found.head}"
    if found.broken_at is not None:
        text = f"broken at event {found.broken_at}: {found.problem}\nlast good hash {found.head}"
    elif found.unrecorded:
        text = f"{found.events} events, unbroken, but a change was not recorded: {found.unrecorded}"
    _answer({**msgspec.to_builtins(found), "whole": found.whole}, as_json, lambda: [text])
    if not found.whole:
        raise typer.Exit(1)


def audit_list(
    after: Annotated[int, typer.Option(help="Only events with a greater number.")] = 0,
    limit: Annotated[int, typer.Option(min=1)] = 1000,
    home: Home = None,
    database: Database = "",
    artifacts: Artifacts = "",
    as_json: Json = False,
) -> None:
    """List the audit log, oldest first."""
    with _open(home, database, artifacts) as registry:
        events = registry.events(after=after, limit=limit)
    _answer(events, as_json, lambda: map(_event_line, events))


def _open(home: Path | None, database: str, artifacts: str) -> Registry:
    return open_registry(_settings(home, database, artifacts))


def _settings(home: Path | None, database: str, artifacts: str) -> Settings:
    given = {
        "PENSTOCK_HOME": str(home) if home else "",
        "PENSTOCK_DATABASE": database,
        "PENSTOCK_ARTIFACTS": artifacts,
    }
    return read_settings({**os.environ, **{name: text for name, text in given.items() if text}})


def _tell(text: str) -> None:
    typer.echo(text, err=True)


def _expected(text: str) -> int | Literal["absent"] | None:
    if text == "none":
        return "absent"
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise typer.BadParameter(f"--expect {text!r} is neither a version number nor none")
    return int(text) if text else None


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key or key in found:
            raise typer.BadParameter(f"{option} {text!r} is not KEY=VALUE, or its key is given twice")
        found[key] = value
    return found


def _numbers(texts: list[str] | None) -> dict[str, float]:
    try:
        return {key: float(value) for key, value in _pairs(texts, "--metric").items()}
    except ValueError as error:
        raise typer.BadParameter(f"--metric: {error}") from None


def _answer(value: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    for line in [msgspec.json.encode(value).decode()] if as_json else lines():
        typer.echo(line)


def _line(version: Version) -> str:
    marks = [*version.aliases, *(["retired"] if version.retired else [])]
    numbers = ", ".join(f"{name}={value:.6g}" for name, value in version.metrics.items())
    return (
        f"{version.ref:<24} {version.digest[:19]}  {version.created_at[:16]}  {', '.join(marks):<24} {numbers}".rstrip()
    )


def _details(version: Version) -> Iterable[str]:
    facts = msgspec.to_builtins(version)
    facts["signature"] = (
        ", ".join(f"{field.name} {field.datatype}{list(field.shape)}" for field in version.signature.inputs)
        + " -> "
        + ", ".join(f"{field.name} {field.datatype}{list(field.shape)}" for field in version.signature.outputs)
    )
    for name in ("model", "number"):
        del facts[name]
    yield version.ref
    for name, value in facts.items():
        if value not in (None, "", {}, []):
            yield f"  {name:<13} {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"


def _event_line(event: Event) -> str:
    change = " -> ".join(msgspec.json.encode(value).decode() for value in (event.before, event.after))
    reason = f"  ({event.reason})" if event.reason else ""
    return f"{event.seq:>5} {event.time}  {event.actor:<12} {event.action:<18} {event.subject:<24} {change}{reason}"
