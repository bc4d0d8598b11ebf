"""Where a command finds the state it works on; read once from the environment, then passed on as a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.core.errors import InvalidInput

_ACTOR = ("PENSTOCK_ACTOR", "LOGNAME", "USER", "USERNAME")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Home folder, database, artifacts, and the name the audit log gives to whoever acts."""

    home: Path
    database_url: str
    artifacts_url: str
    actor: str


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `PENSTOCK_HOME`, `PENSTOCK_DATABASE`, `PENSTOCK_ARTIFACTS` and `PENSTOCK_ACTOR`.

    An empty variable counts as none. Raises InvalidInput (`no-home`) when neither PENSTOCK_HOME nor HOME is set.

    Example:
        >>> read_settings({"HOME": "/home/ana", "USER": "ana"}).database_url
        'sqlite:////home/ana/.penstock/registry.db'
    """
    if not (environ.get("PENSTOCK_HOME") or environ.get("HOME")):
        raise InvalidInput("no-home", "neither PENSTOCK_HOME nor HOME is set", hint="give --home FOLDER")
    home = Path(environ.get("PENSTOCK_HOME") or Path(environ["HOME"], ".penstock")).absolute()
    return Settings(
        home=home,
        database_url=environ.get("PENSTOCK_DATABASE") or f"sqlite:///{home / 'registry.db'}",
        artifacts_url=environ.get("PENSTOCK_ARTIFACTS") or str(home / "artifacts"),
        actor=next((environ[name] for name in _ACTOR if environ.get(name)), "unknown"),
    )


def ensure_home(settings: Settings) -> Path:
    """Create the home folder, for its owner alone, if it is not there; return it.

    Raises InvalidInput (`unusable-home`) where no folder can be made.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidInput(
            "unusable-home", f"no folder can be made at {settings.home}: {error.strerror}", hint="give --home FOLDER"
        ) from None
    return settings.home
