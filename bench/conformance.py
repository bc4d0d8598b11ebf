#!/usr/bin/env python3
"""Ask Penstock and its rivals whether they keep the contracts, and write docs/conformance.md.

    make conformance

Rivals are installed into $PEERS_DIR (default: a folder in the temporary directory) on first use. Each serves the logistic
pipeline of the benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import report
import run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "conformance.md"
VENVS = ["train", "mlserver", "mlflow", "azureml"]
# (contract, what it is called, the servers that offer it)
CONTRACTS = [
    ("oip", "Open Inference Protocol v2", ["ours", "mlserver"]),
    ("mlflow", "MLflow scoring server", ["ours_table", "mlflow_table"]),
    ("tfserving", "TF Serving, REST", ["ours"]),
    ("sagemaker", "SageMaker containers", ["ours", "mlflow_table"]),
    ("vertex", "Vertex AI containers", ["ours"]),
    ("azure", "Azure ML online endpoints", ["ours", "azureml"]),
]
SAID = {"passed": "yes", "failed": "**no**", "skipped": "–"}


def main() -> None:
    """Start each server once, ask it, write the page."""
    report.install(VENVS)
    run.become_subreaper()
    entries = {
        entry["name"]: entry
        for entry in run.load_entries(sorted(HERE.glob("peers/*/bench.json")), "peers")
        + run.load_entries([HERE / "ours.json"], "extra")
    }
    os.environ["OURS_PYTHON"] = sys.executable
    found: dict[str, dict[str, dict]] = {}
    for index, name in enumerate(dict.fromkeys(server for _, _, servers in CONTRACTS for server in servers)):
        with run.launched(entries[name], "lr", index, 0) as (port, _, work):
            found[name] = {
                contract: asked(contract, name, port, work) for contract, _, servers in CONTRACTS if name in servers
            }
        print(name, {contract: (one["passed"], one["failed"], one["skipped"]) for contract, one in found[name].items()}, flush=True)
    PAGE.write_text(page(found, {name: versions(entries[name]) for name in found}))
    print(PAGE.relative_to(ROOT))


def asked(contract: str, name: str, port: int, work: Path) -> dict:
    """What `penstock conformance` says."""
    example = work / f"{contract}.json"
    example.write_text(json.dumps(example_of(contract, name)))
    command = [sys.executable, "-m", "penstock", "conformance", f"http://127.0.0.1:{port}", "--contract", contract]
    command += ["--model", "m", "--json"] + ([] if example.read_text() == "null" else ["--example", str(example)])
    said = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if not said.stdout.startswith("{"):
        raise SystemExit(f"{name}, {contract}: {said.stderr[-500:]}")
    return json.loads(said.stdout)


def example_of(contract: str, name: str) -> object:
    """A call that the server answers, where the contract cannot tell by itself what one is."""
    rows = json.loads((run.MODELS / "lr.rows.json").read_text())["rows"][:3]
    if name.endswith("_table"):
        return {"dataframe_split": {"columns": [f"c{index}" for index in range(len(rows[0]))], "data": rows}}
    if contract == "azure":
        return {"data": rows}
    if contract == "oip" and name != "ours":
        # Its metadata name no inputs.
        return {"inputs": [{"name": "x", "shape": [1, len(rows[0])], "datatype": "FP64", "data": rows[0]}]}
    return {"instances": rows} if contract in ("vertex", "tfserving", "sagemaker") else None


def versions(entry: dict) -> str:
    """What of a rival was asked."""
    if not entry.get("venv"):
        return "this checkout"
    return ", ".join(f"{k} {v}" for k, v in run.ecosystem(entry["venv"], entry.get("version_of", []))["versions"].items())


def page(found: dict[str, dict[str, dict]], asked_versions: dict[str, str]) -> str:
    """The page."""
    lines = [
        "# Conformance", "",
        "Written by `make conformance`, which starts each server with the logistic pipeline of the benchmark and asks it by",
        "[`penstock conformance`](reference/cli.md); anybody can point that command at any server. A dash is a case that could",
        "not be asked: another kind of model, or an extension that the server does not offer.", "",
        f"Asked {time.strftime('%Y-%m-%d', time.gmtime())}: " + "; ".join(f"`{k}` {v}" for k, v in asked_versions.items()) + ".", "",
    ]  # fmt: skip
    for contract, title, servers in CONTRACTS:
        results = {name: found[name][contract] for name in servers}
        lines += [f"## {title}", "", "| case | " + " | ".join(f"`{name}`" for name in servers) + " |"]
        lines += ["|---|" + "---|" * len(servers)]
        for index, case in enumerate(results[servers[0]]["cases"]):
            row = [SAID[results[name]["cases"][index]["verdict"]] for name in servers]
            lines.append(f"| {case['clause'].partition(', ')[2]}: {case['name']} | " + " | ".join(row) + " |")
        total = [f"{one['passed']} of {one['passed'] + one['failed']}" for one in results.values()]
        lines += [f"| kept | {' | '.join(total)} |", ""]
        for name, one in results.items():
            failed = [case for case in one["cases"] if case["verdict"] == "failed"]
            if failed:
                lines += [f"`{name}` did instead:", ""]
                lines += [f"- {case['name']}: {' '.join(case['reason'].split())[:160]}" for case in failed]
                lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
