"""Having a model's environment ready before anybody wants to serve it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.bundle.bundle import Bundle


def ensure_environment(bundle: Bundle, home: Path, tell: Callable[[str], None]) -> str:
    """Build what the bundle's model process needs, unless it is here; returns why it cannot be had, or "".

    Done when a version is registered, because nothing is built while a node starts. A failure does not undo the
    registration: other machines may have the environment, and a node here says the same reason and stays not ready.
    """
    if bundle.manifest.holds_no_code:
        return ""
    from penstock.core.errors import PenstockError
    from penstock.runtime.environment import build, python_for

    environment = bundle.manifest.environment
    requirements = bundle.path(environment.requirements).read_text()
    try:
        python_for(environment, requirements, home)
    except PenstockError as missing:
        tell(f"{missing.message}: building it")
        try:
            build(
                environment, requirements, home, bundle.directory / environment.wheels if environment.wheels else None
            )
        except PenstockError as error:
            return str(error)
    return ""
