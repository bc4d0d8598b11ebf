"""Checks written by the user, run in a process of their own: whatever they do there, they do not do here.

A check that raises, hangs, exits or crashes is a failed check: its author meant something by it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import msgspec

from penstock.core.errors import NotFound
from penstock.core.verdicts import Finding, Verdict, overall
from penstock.gates.candidate import Candidate, Subject
from penstock.gates.plan import CustomSettings

_SHOWN = 2000
_MOST_RESULT_BYTES = 4 << 20
_PACKAGES = Path(__file__).resolve().parents[2]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told: the bundles as folder and digest, the user's file, where the results go."""

    file: str
    results: str
    bundle: tuple[str, str]
    champion: tuple[str, str] | None
    home: str
    allow_pickle: bool


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check's outcome; the last line of a whole run is one with `name` "" and no problem."""

    name: str
    verdict: Verdict
    text: str = ""
    evidence: dict[str, object] = {}


def check(candidate: Candidate, settings: CustomSettings) -> Finding:
    """Run every file; fail when a check does, inconclusive when there was none."""
    for name in settings.files:
        if not Path(name).is_file():
            raise NotFound("unknown-file", f"there are no checks at {name}")
    results: dict[str, list[Result]] = {}
    outputs: dict[str, str] = {}
    for name in settings.files:
        results[name], outputs[name] = _run(candidate, name, settings.timeout_s)
    every = [(Path(name).name, one) for name, found in results.items() for one in found]
    verdict = overall(one.verdict for _, one in every)
    telling = [
        f"{file}: {one.name} {one.verdict}{_last_line(one.text)}" for file, one in every if one.verdict != "pass"
    ]
    summary = "; ".join(telling[:3]) or (f"{len(every)} checks passed" if every else "no check was found")
    evidence = {
        "checks": [{"file": file, **msgspec.to_builtins(one)} for file, one in every],
        "output": {name: text for name, text in outputs.items() if text and verdict != "pass"},
    }
    return Finding(gate="custom", verdict=verdict, summary=summary[:1000], evidence=evidence)


def _run(candidate: Candidate, file: str, timeout_s: float) -> tuple[list[Result], str]:
    """The results of one file, and the last of what it printed."""
    limit_s = min(timeout_s, candidate.left_s())
    with tempfile.TemporaryDirectory(prefix="penstock-check-") as folder:
        results = Path(folder) / "results"
        order = Order(
            file=str(Path(file).resolve()), results=str(results), bundle=_named(candidate),
            champion=_named(candidate.champion) if candidate.champion is not None else None,
            home=str(candidate.served.home.resolve()), allow_pickle=candidate.served.allow_pickle,
        )  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.gates.custom_process", msgspec.json.encode(order).decode()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env=_environment(folder), start_new_session=True,
        )  # fmt: skip
        tail = _Tail(process.stdout)
        problem = "it ended before its last check"
        try:
            if code := process.wait(limit_s):
                problem = f"its process ended with exit code {code}"
        except subprocess.TimeoutExpired:
            candidate.left_s()
            problem = f"it took longer than {limit_s:g} s"
        finally:
            # With what it started: nobody else would end that.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said = tail.text()
        found = _read(results)
        # The last line is missing when it was ended, or ended itself in the middle, even with exit code 0.
        if found and not found[-1].name:
            return found[:-1], said
        return [*found, Result("the file", "fail", f"{said}\n{problem}{_last_line(said)}".strip())], said


def _last_line(text: str) -> str:
    return f": {text.splitlines()[-1].strip()[:300]}" if text else ""


def _named(subject: Subject) -> tuple[str, str]:
    return str(subject.bundle.directory.resolve()), subject.bundle.digest


def _environment(home: str) -> dict[str, str]:
    """Nothing of ours: it may hold keys to databases and buckets, which are no business of a check."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8", "PYTHONPATH": str(_PACKAGES)}


def _read(path: Path) -> list[Result]:
    """The results that were written whole."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_RESULT_BYTES).split(b"\n")
        return [msgspec.json.decode(line, type=Result) for line in lines[:-1]]
    except (OSError, msgspec.MsgspecError):
        return []


class _Tail:
    """The last of what a process prints, however much that is."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept = b""
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self._stream is not None and (data := self._stream.read(1 << 16)):
            self._kept = (self._kept + data)[-_SHOWN:]

    def text(self) -> str:
        """What was kept; its writers have been ended."""
        self._thread.join(5)
        if self._stream is not None and not self._thread.is_alive():
            self._stream.close()
        return self._kept.decode(errors="replace").strip()
