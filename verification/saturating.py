"""Load by `wrk`, with the benchmark's own script: as many requests as the server can take, or, with pauses, fewer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from verification.finding import CannotMeasureError
from verification.store import ROOT

LONGEST_S = 600


class Wrk:
    """Calls `url` from `connections` connections for `seconds`, or until `stop`.

    With `pause_ms` each connection pauses so long after an answer, on average.
    """

    def __init__(
        self, url: str, bodies: list[bytes], connections: int, core: int, folder: Path, pause_ms: int = 0
    ) -> None:
        if not shutil.which("wrk"):
            raise CannotMeasureError(
                "the load generator wrk is not installed; on Debian and Ubuntu: apt-get install wrk"
            )
        file = folder / "bodies.jsonl"
        file.write_bytes(b"\n".join(bodies) + b"\n")
        post = ROOT / "bench" / "post.lua"
        script = ROOT / "verification" / "pausing.lua" if pause_ms else post
        self._command = ["wrk", "-t1", f"-c{connections}", "--timeout", "20s", "-s", str(script)]
        self._url = url
        self._environment = {
            **os.environ, "WRK_BODIES": str(file), "WRK_POST": str(post), "WRK_PAUSE_MS": str(pause_ms),
        }  # fmt: skip
        self._core = core

    def run(self, seconds: int) -> dict[str, Any]:
        """Load for whole `seconds` and return what `wrk` saw."""
        self._start(seconds)
        return self._result(seconds + 60)

    def __enter__(self) -> Self:
        self._start(LONGEST_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self) -> dict[str, Any]:
        """End the load now and return what `wrk` saw since the start."""
        # It prints its summary on an interrupt as it does at its time.
        self._process.send_signal(signal.SIGINT)
        return self._result(60)

    def _start(self, seconds: int) -> None:
        core = self._core
        self._process = subprocess.Popen(
            [*self._command, f"-d{seconds}s", self._url], env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip

    def _result(self, limit_s: float) -> dict[str, Any]:
        try:
            out, _ = self._process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        line = next((line for line in out.splitlines() if line.startswith("RESULT ")), None)
        if line is None:
            raise RuntimeError(f"wrk: {out[-300:]}")
        seen = json.loads(line[7:])
        return {
            "answers": seen["requests"],
            "errors": seen["errors"] + seen["status_errors"],
            "answers_per_s": round(seen["requests"] / seen["duration_us"] * 1e6),
            "p50_ms": seen["p50_us"] / 1e3,
            "p99_ms": seen["p99_us"] / 1e3,
        }
