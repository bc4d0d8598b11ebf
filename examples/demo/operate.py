"""The demo's second half: control decides what the node serves, gates who may, and the log remembers every answer."""

from __future__ import annotations

from pathlib import Path

import models
import rollouts
from steps import Up, run, title

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
        rollouts.demo(folder, up, SPEC)
        run(folder, "status")
