"""The bundle's environment: the lock of what serves it and, when asked, the wheels to build that from."""

from __future__ import annotations

import ensurepip
import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock.bundle.manifest import Environment
from penstock.core.errors import Unavailable
from penstock.pack.lock import Lock
from penstock.runtime.environment import lock_current, lock_wheels

REQUIREMENTS, WHEELS = "requirements.txt", "wheels"


def write_environment(
    root: Path, distributions: Iterable[str], *, vendor: bool, lock: Lock | None = None
) -> Environment:
    """Lock the distributions as installed here into `root`; `vendor` downloads their wheels beside the lock.

    With a `lock` that the model brought along that one is written.

    Raises NotFound("unknown-distribution") and Unavailable("wheels-unavailable").
    """
    text, environment = (lock.text, lock.environment) if lock else lock_current(sorted(distributions))
    if vendor:
        (root / REQUIREMENTS).write_text(text)
        download_wheels(root / REQUIREMENTS, root / WHEELS)
        text, environment = lock_wheels(text, root / WHEELS, WHEELS)
    (root / REQUIREMENTS).write_text(text)
    return environment


def download_wheels(requirements: Path, into: Path) -> None:
    """Download the pinned wheels for this Python and platform; raises Unavailable("wheels-unavailable")."""
    # --no-deps: the lock is whole. Only wheels: a source distribution runs its own code when it is built.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command = [sys.executable, *_pip(), "download", *options, "--dest", str(into), "-r", str(requirements)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=1800, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise Unavailable(
            "wheels-unavailable",
            f"the wheels of the environment could not be downloaded: {' '.join(said.decode().split())[-400:]}",
            hint="check the package index, or pack without --vendor",
        ) from None


def _pip() -> list[str]:
    # uv has no command that downloads wheels. Environments made by uv have no pip; Python itself brings one along.
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        raise Unavailable("wheels-unavailable", "--vendor needs pip, which is not installed", hint="install pip")
    return [str(bundled[-1] / "pip")]
