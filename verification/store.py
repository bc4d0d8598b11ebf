"""Records on disk: one JSON file per check, so that a run goes on where the last one ended."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import msgspec

from verification.finding import Record

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".verify"
# What is measured; the pages that say what was measured are not.
CODE = ["--", ".", ":!docs", ":!*.md", ":!.verify"]


def code_identity(root: Path = ROOT) -> str:
    """The commit, and behind a `+` a digest of what differs from it; empty where there is no git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout

    try:
        commit = git("rev-parse", "--short=12", "HEAD").strip()
        # The status names files that git does not follow yet; the difference alone would miss them.
        changes = git("status", "--porcelain", *CODE) + git("diff", "HEAD", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" + hashlib.sha256(changes.encode()).hexdigest()[:8] if changes else "")


def save(record: Record, folder: Path = FOLDER) -> None:
    """Keep a record in the place of the check's last one."""
    folder.mkdir(exist_ok=True)
    partial = folder / f"{record.check}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    partial.replace(folder / f"{record.check}.json")


def kept(check: str, folder: Path = FOLDER) -> Record | None:
    """The check's last record, if there is one that can be read."""
    try:
        return msgspec.json.decode((folder / f"{check}.json").read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def forget(check: str, folder: Path = FOLDER) -> None:
    """Remove the check's record, if there is one."""
    (folder / f"{check}.json").unlink(missing_ok=True)


def answers(record: Record | None, code: str, short: bool) -> bool:
    """Whether a record makes measuring again unnecessary: same code, all measured, and not shorter than asked for."""
    return record is not None and bool(code) and record.code == code and record.complete and (short or not record.short)
