"""The bundle's environment: the lock of what serves it and, when asked, the wheels to build that from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock.bundle.manifest import Environment
from penstock.core.errors import Unavailable
from penstock.runtime.environment import lock_current, lock_wheels

REQUIREMENTS, WHEELS = "requirements.txt", "wheels"


def write_environment(root: Path, distributions: Iterable[str], *, vendor: bool) -> Environment:
    """Lock the distributions as installed here into `root`; `vendor` downloads their wheels beside the lock.

    Raises NotFound("unknown-distribution") and Unavailable("wheels-missing").
    """
    text, environment = lock_current(sorted(distributions))
    if vendor:
        _download(text, root)
        text, environment = lock_wheels(text, root / WHEELS, WHEELS)
    (root / REQUIREMENTS).write_text(text)
    return environment


def _download(requirements: str, root: Path) -> None:
    (root / REQUIREMENTS).write_text(requirements)
    # pip, not uv: uv has no command that downloads wheels. --no-deps: the lock is whole.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--dest", str(root / WHEELS), "-r", str(root / REQUIREMENTS)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=1800, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise Unavailable(
            "wheels-missing",
            f"the wheels could not be downloaded: {' '.join(said.decode(errors='replace').split())[-400:]}",
            hint="check the package index, or pack without --vendor",
        ) from None
