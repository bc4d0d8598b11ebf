"""The demo's second half: control decides what the node serves, gates who may, and the log remembers every answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import models
from steps import arguments, free_port, run, title

SPEC = """\
version: 1
endpoints:
  tumour:
    model: {version}
gates:
  budget: {{single_ms: 50}}
  quality:
    data: held-out.csv
    target: diagnosis
    metrics:
      accuracy: {{min: 0.9, not_worse_than: 0.05}}
"""
QUESTION = """SELECT version, count(*) AS rows, round(avg(("output.predictions" = "outcome.label")::INT), 3) AS accuracy
FROM joined WHERE "outcome.label" IS NOT NULL GROUP BY version"""


def demo(folder: Path) -> None:
    """Run control and a node, apply a spec, see a bad version refused, tell outcomes, ask the log."""
    title("Control and a node in one command; say in penstock.yaml what should be, and make it so")
    with Up(folder) as up:
        (folder / "penstock.yaml").write_text(SPEC.format(version="tumour@champion"))
        print("  " + (folder / "penstock.yaml").read_text().replace("\n", "\n  ").rstrip())
        run(folder, "plan")
        run(folder, "apply --reason 'the champion goes live' --wait")

        title("A third version makes the classic slip, other units in training; a gate stops it")
        run(
            folder,
            "pack v3.joblib --name tumour --sample rows.csv --out v3.penstock --allow-pickle 'trained a moment ago'",
        )
        run(folder, "register v3.penstock --reason 'a bright idea'")
        (folder / "penstock.yaml").write_text(SPEC.format(version="tumour/3"))
        run(folder, "apply --reason 'ship it'", expect=1)

        title("Predict for every held-out patient; weeks later their diagnoses come, by request id")
        rows, calls = models.outcomes_of(up.url, folder)
        print(f"  {rows} rows in {calls} calls to {up.url}")
        run(folder, "log outcomes labels.csv")
        run(folder, f"log query '{QUESTION}'")
        run(folder, "status")


class Up:
    """`penstock up` on free ports; `url` is the node's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.node_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.node_port}"

    def __enter__(self) -> Up:
        command = f"up --port {self.port} --node-port {self.node_port} --processes 1"
        print(f"  $ penstock {command} &")
        self.log = (self.folder / "up.log").open("w+")
        began = time.monotonic()
        self.process = subprocess.Popen(
            arguments(self.folder, command), cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT
        )
        while "logs " not in (said := (self.folder / "up.log").read_text()):
            if self.process.poll() is not None or time.monotonic() - began > 60:
                sys.exit(said)
            time.sleep(0.02)
        print("    " + said.strip().replace("\n", "\n    "))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60):
            sys.exit((self.folder / "up.log").read_text())
        self.log.close()
