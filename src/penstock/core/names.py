"""Names people type: models, versions and aliases."""

from __future__ import annotations

import re

import msgspec

from penstock.core.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it may name a model, endpoint, arm or alias; raise InvalidInput otherwise.

    Letters, digits, `.`, `_` and `-`, at most 128, starting and ending with a letter or digit: such a name is safe
    in a URL, a file name, a metric label and a Kubernetes annotation.

    Example:
        >>> check_name("churn-v2")
        'churn-v2'
    """
    # fullmatch, not match: "churn\n" must not pass.
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "invalid-name",
            f"{what} {name[:140]!r} is not a valid name",
            hint="use letters, digits, '.', '_' and '-', at most 128, starting and ending with a letter or digit",
        )
    return name


class VersionRef(msgspec.Struct, frozen=True):
    """What a user means by `churn`, `churn/7` or `churn@champion`: exactly one of number and alias, or neither."""

    name: str
    number: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.number is not None:
            return f"{self.name}/{self.number}"
        return f"{self.name}@{self.alias}" if self.alias else self.name


def parse_version_ref(text: str) -> VersionRef:
    """Read `NAME`, `NAME/7` or `NAME@ALIAS`.

    Example:
        >>> parse_version_ref("churn/7")
        VersionRef(name='churn', number=7, alias=None)
        >>> str(parse_version_ref("churn@champion"))
        'churn@champion'
    """
    name, slash, number = text.partition("/")
    if slash:
        if not (number.isascii() and number.isdigit() and int(number) > 0):
            raise InvalidInput(
                "invalid-version", f"{number!r} in {text!r} is not a version number", hint="write churn/7"
            )
        return VersionRef(check_name(name, "model"), number=int(number))
    name, at, alias = text.partition("@")
    return VersionRef(check_name(name, "model"), alias=check_name(alias, "alias") if at else None)
