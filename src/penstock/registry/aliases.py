"""Aliases: names that move from version to version by compare-and-set, every move in the audit log."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from penstock.core.errors import Conflict, NotFound, Refused
from penstock.registry.audit import Change
from penstock.registry.schema import aliases, protected_aliases
from penstock.registry.versions import find_version

Expected = int | Literal["absent"] | None
"""What the caller believes the alias points at; None: it does not matter."""


def read_aliases(connection: Connection, model: str) -> dict[str, int]:
    """Alias to version number, in the order of the names."""
    rows = connection.execute(select(aliases.c.alias, aliases.c.number).where(aliases.c.model == model))
    return dict(sorted((row.alias, row.number) for row in rows))


def set_alias(
    change: Change, model: str, alias: str, number: int, expected: Expected, *, approved: bool = False
) -> None:
    """Point `alias` at a version.

    Raises Conflict (`alias-moved`) when it does not point where the caller believes, and Refused (`alias-protected`)
    where it is protected and nobody else approved.
    """
    if find_version(change.connection, model, number).retired:
        raise Refused(
            "version-retired",
            f"{model}/{number} is retired, so {alias!r} cannot point at it",
            hint=f"penstock retire {model}/{number} --undo",
        )
    before = _current(change.connection, model, alias)
    _check(model, alias, before, expected)
    if before == number:
        return
    _check_protection(change.connection, model, alias, approved)
    if before is None:
        change.connection.execute(insert(aliases).values(model=model, alias=alias, number=number))
    else:
        change.connection.execute(update(aliases).where(_is(model, alias)).values(number=number))
    change.record("alias.set", f"{model}@{alias}", _pointing(before), _pointing(number))


def delete_alias(change: Change, model: str, alias: str, expected: Expected) -> None:
    """Take the alias away; raises NotFound when there is none, Conflict when it moved."""
    before = _current(change.connection, model, alias)
    if before is None:
        raise NotFound("unknown-alias", f"model {model!r} has no alias {alias!r}", hint=f"penstock list {model}")
    _check(model, alias, before, expected)
    _check_protection(change.connection, model, alias, approved=False)
    change.connection.execute(delete(aliases).where(_is(model, alias)))
    change.record("alias.deleted", f"{model}@{alias}", _pointing(before), None)


def write_protected(change: Change, protected: Collection[str]) -> None:
    """Protect these aliases of every model, and no others."""
    change.connection.execute(delete(protected_aliases))
    if protected:
        change.connection.execute(insert(protected_aliases), [{"alias": alias} for alias in protected])


def _check_protection(connection: Connection, model: str, alias: str, approved: bool) -> None:
    # Here, where every way to an alias passes: a rule that one of the doors forgets is none.
    protected = connection.execute(select(protected_aliases).where(protected_aliases.c.alias == alias)).first()
    if protected is not None and not approved:
        raise Refused(
            "alias-protected",
            f"{model}@{alias} is protected: somebody else must approve",
            hint=f"ask for it: penstock alias {model} {alias} VERSION, or penstock apply",
        )


def _is(model: str, alias: str) -> ColumnElement[bool]:
    return and_(aliases.c.model == model, aliases.c.alias == alias)


def _current(connection: Connection, model: str, alias: str) -> int | None:
    number: int | None = connection.execute(select(aliases.c.number).where(_is(model, alias))).scalar_one_or_none()
    return number


def _pointing(number: int | None) -> dict[str, int] | None:
    return None if number is None else {"version": number}


def _check(model: str, alias: str, current: int | None, expected: Expected) -> None:
    if expected is None or expected == (current or "absent"):
        return
    raise Conflict(
        "alias-moved",
        f"{model}@{alias} is {current or 'absent'}, not {expected}: somebody moved it",
        hint=f"look at it (penstock history {model}) and decide again",
    )
