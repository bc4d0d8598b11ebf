"""The one bundle in a folder that a platform filled: it names the folder, not what is in it."""

from __future__ import annotations

from pathlib import Path

from penstock.bundle.bundle import SUFFIX
from penstock.bundle.manifest import MANIFEST
from penstock.core.errors import InvalidInput, NotFound

_DEEPEST = 3


def bundle_in(folder: Path) -> Path:
    """The bundle that `folder` is or holds, as a folder or a file, at most three folders deep.

    Raises NotFound (`unknown-bundle`), InvalidInput (`several-bundles`).
    """
    try:
        return _bundle_in(folder)
    except OSError as error:
        raise NotFound("unknown-bundle", f"{str(folder)[:200]} cannot be searched: {error.strerror}") from None


def _bundle_in(folder: Path) -> Path:
    level = [folder]
    for _ in range(_DEEPEST + 1):
        found = [path for path in level if path.suffix == SUFFIX or (path / MANIFEST).is_file()]
        if len(found) > 1:
            said = ", ".join(path.name for path in found[:5])
            raise InvalidInput("several-bundles", f"{folder} holds {said}", hint="put one bundle into it, or name it")
        if found:
            return found[0]
        level = sorted(path for parent in level if parent.is_dir() for path in parent.iterdir())
    raise NotFound("unknown-bundle", f"there is no bundle in {folder}", hint="penstock pack makes one")
