"""The environment that a model brings along: found here, or resolved and built, before the model is opened."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from penstock.bundle.manifest import Environment
from penstock.core.errors import PenstockError, Unavailable
from penstock.runtime.environment import build, lock_current, lock_resolved


class Lock(msgspec.Struct, frozen=True):
    """A locked environment, and the interpreter that has it; `here` says that it is this very one."""

    text: str
    environment: Environment
    python: str
    here: bool


def lock_of(requirements: str, python: str, scratch: Path) -> Lock:
    """The environment of a requirements file: this Python where it has all of it, else resolved and built in `scratch`.

    Raises Unavailable("model-environment") with the reason why it cannot be had.
    """
    names = satisfied(requirements)
    if names is not None and python in ("", f"{sys.version_info.major}.{sys.version_info.minor}"):
        text, environment = lock_current(names)
        return Lock(text, environment, sys.executable, here=True)
    _check_plain(requirements)
    try:
        text, environment = lock_resolved(requirements, python, scratch)
        return Lock(text, environment, str(build(environment, text, scratch)), here=False)
    except PenstockError as error:
        raise Unavailable(
            "model-environment",
            f"the environment that the model asks for cannot be built: {error.message}",
            hint="correct its requirements.txt, or pack where its Python and a package index can be reached",
        ) from error


def _check_plain(requirements: str) -> None:
    """Refuse what would make the resolver read other files, or run a package's own set-up from somewhere else."""
    for line in _lines(requirements):
        try:
            plain = Requirement(line).url is None
        except InvalidRequirement:
            plain = False
        if not plain:
            raise Unavailable(
                "model-environment",
                f"requirements.txt says {line[:100]!r}, which is no package of an index",
                hint="name packages and versions only: options, paths and addresses are not taken from a model",
            )


def _lines(requirements: str) -> list[str]:
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in requirements.splitlines())
    return [line for line in lines if line]


def satisfied(requirements: str) -> list[str] | None:
    r"""The requirements (names with extras) if all are installed here in versions they allow, else None.

    Example:
        >>> satisfied("numpy>=1\n# a comment"), satisfied("numpy==0.1")
        (['numpy'], None)
    """
    found = []
    for line in _lines(requirements):
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            return None
        if needed.marker is not None and not needed.marker.evaluate():
            continue
        name = _installed(needed)
        if needed.url or name is None:
            return None
        found.append(name + (f"[{','.join(sorted(needed.extras))}]" if needed.extras else ""))
    return found


def _installed(needed: Requirement) -> str | None:
    # MLflow lists itself under its own name where only its small form is installed.
    for candidate in (needed.name, *(["mlflow-skinny"] if needed.name == "mlflow" else [])):
        try:
            version = metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
        if needed.specifier.contains(version, prereleases=True):
            return candidate
    return None
