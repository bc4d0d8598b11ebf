"""Where a model comes from, as far as it can be read here."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable
from pathlib import Path

from penstock.bundle.manifest import Lineage
from penstock.pack.choices import Choices
from penstock.pack.describing import plain
from penstock.pack.original import Description


def lineage_of(about: Description, choices: Choices, data_digest: str) -> Lineage:
    """What is known of the model's origin: told by the person, read from the model, and from the working folder."""
    commit, dirty = git_state(Path.cwd())
    return Lineage(
        data_digest=data_digest,
        git_commit=commit,
        git_dirty=dirty,
        target=choices.target,
        parameters={**about.parameters, **plain(choices.parameters)},
        metrics=choices.metrics,
        packages=versions_of(about.distributions),
    )


def git_state(folder: Path) -> tuple[str, bool]:
    """The commit of the working folder and whether tracked files were changed since; ("", False) outside of git.

    Untracked files do not count: the bundle itself, written into the folder, would make the second packing differ.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    return commit, bool(commit and _git(folder, "status", "--porcelain", "--untracked-files=no"))


def _git(folder: Path, *arguments: str) -> str:
    # No fsmonitor, hooks or locks: packing reads the repository and must not run or change anything in it.
    safe = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks"]
    try:
        done = subprocess.run(
            ["git", *safe, *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions_of(distributions: Iterable[str]) -> dict[str, str]:
    """The installed versions of these distributions."""
    return {name: importlib.metadata.version(name) for name in sorted(distributions)}
