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
    try:
        text, environment = lock_resolved(requirements, python, scratch)
        return Lock(text, environment, str(build(environment, text, scratch)), here=False)
    except PenstockError as error:
        raise Unavailable(
            "model-environment",
            f"the environment that the model asks for cannot be built: {error.message}",
            hint="correct its requirements.txt, or pack where its Python and a package index can be reached",
        ) from error


def satisfied(requirements: str) -> list[str] | None:
    r"""The requirements (names with extras) if all are installed here in versions they allow, else None.

    Example:
        >>> satisfied("numpy>=1\n# a comment"), satisfied("numpy==0.1")
        (['numpy'], None)
    """
    found = []
    for line in requirements.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            return None  # an option, a path or an address: for the resolver to understand
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
