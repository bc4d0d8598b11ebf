"""`penstock keys create`, `list`, `revoke` and `rotate`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from penstock.cli.answers import answer, tell
from penstock.cli.control_lines import key_lines
from penstock.cli.desk import Server, open_desk
from penstock.cli.option_groups import spread
from penstock.cli.options import Json, Place, Reason

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, from penstock keys list.")]
_DAY_S = 86_400
_ONCE = "keep it now, it is shown this once"


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    keys = typer.Typer(help="API keys: who may do what.", no_args_is_help=True)
    keys.command("create")(spread(create))
    keys.command("list")(spread(list_))
    keys.command("revoke")(spread(revoke))
    keys.command("rotate")(spread(rotate))
    app.add_typer(keys, name="keys")


def create(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Who holds it; the audit log says this name.")],
    role: Annotated[str, typer.Option(help="viewer, operator, approver or admin.")] = "viewer",
    endpoint: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Confine it to this endpoint; may be repeated.")
    ] = None,
    days: Annotated[float | None, typer.Option(metavar="N", help="How long it is good (default: for ever).")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Calls per second, on each node.")] = None,
    reason: Reason = "",
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once.

    Example: penstock keys create shop --endpoint churn --days 90
    """
    with closing(open_desk(place, server)) as desk:
        made = desk.create_key(
            subject,
            role,
            endpoints=tuple(endpoint) if endpoint else None,
            expires_in_s=None if days is None else days * _DAY_S,
            rate_per_s=rate,
            reason=reason,
        )
    answer(made, [made.text], as_json=as_json)
    tell(f"{made.key.id} for {subject}: {_ONCE}")


def list_(*, place: Place, server: Server, as_json: Json = False) -> None:
    """List keys, without their secrets."""
    with closing(open_desk(place, server)) as desk:
        found = desk.keys()
    answer(found, key_lines(found), as_json=as_json)


def revoke(key_id: KeyId, reason: Reason = "", *, place: Place, server: Server, as_json: Json = False) -> None:
    """End a key now, on control and on every node.

    Example: penstock keys revoke 3f9a01c2d4e5 --reason "left the team"
    """
    with closing(open_desk(place, server)) as desk:
        ended = desk.revoke_key(key_id, reason)
    answer(ended, key_lines([ended]), as_json=as_json)


def rotate(
    key_id: KeyId,
    grace_s: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long the old key is good beside the new one.")
    ] = 3600,
    reason: Reason = "",
    *,
    place: Place,
    server: Server,
    as_json: Json = False,
) -> None:
    """Make a successor with the same grants; the old key ends after the grace."""
    with closing(open_desk(place, server)) as desk:
        made = desk.rotate_key(key_id, grace_s, reason)
    answer(made, [made.text], as_json=as_json)
    tell(f"{made.key.id} takes the place of {key_id}: {_ONCE}")
