#!/usr/bin/env python3
"""Measure Penstock beside its rivals and write docs/benchmarks.md.

    make bench                                  the rivals that the bars name, 3 rounds; about 25 minutes
    .venv/bin/python bench/report.py --rounds 1 --seconds 2
    .venv/bin/python bench/report.py --render   only write the page again, from the last results

Rivals are installed into $PEERS_DIR (default: a folder in the temporary directory) on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = Path(os.environ.get("PEERS_DIR") or Path(tempfile.gettempdir()) / "peers")
VENVS = ["train", "stack", "fastapi", "mlserver", "triton"]
ENTRIES = [
    "ours", "ours_keys", "ours_log", "ours_keys_log", "ours_keys_log10", "ours_canary", "ours_canary_many", "ours_worker",
    "s_proto_batch", "fastapi_ort", "triton_ort", "triton", "mlserver", "mlserver_inline", "mlserver_batch",
    "ours_grpc", "mlserver_grpc", "mlserver_inline_grpc",
]
# (what, model, cell, number, rival, bar): the number is a ratio of ours to the rival's.
BARS = [
    ("single row, 64 connections", "lr", "c64", "rps", "ours", "s_proto_batch", 0.5),
    ("single row, 64 connections", "lr", "c64", "rps", "ours", "triton_ort", 2.5),
    ("single row, 64 connections", "lr", "c64", "rps", "ours", "fastapi_ort", 5),
    ("single row, 64 connections", "lr", "c64", "rps", "ours", "mlserver_inline", 15),
    ("gRPC, single row, 64 calls under way", "lr", "c64", "rps", "ours_grpc", "mlserver_inline_grpc", 3),
    ("gRPC, single row, 64 calls under way", "lr", "c64", "rps", "ours_grpc", "mlserver_grpc", 3),
    ("gRPC beside our own HTTP, single row, 64 calls under way", "lr", "c64", "rps", "ours_grpc", "ours", None),
    ("100-tree forest, 64 connections", "rf", "c64", "rps", "ours", "mlserver_inline", 100),
    ("100-tree forest, 64 connections", "rf", "c64", "rps", "ours", "mlserver_batch", None),
    ("100-tree forest, 64 connections", "rf", "c64", "rps", "ours", "triton", None),
    ("64-row requests, 16 connections", "lr", "r64c16", "rps", "ours", "triton_ort", 1.75),
    ("one connection, median latency", "lr", "c1", "p50_ms", "ours", "s_proto_batch", 1.5),
    ("keys and prediction log, single row, 64 connections", "lr", "c64", "rps", "ours_keys_log", "s_proto_batch", 0.4),
    ("keys and prediction log, single row, 64 connections", "lr", "c64", "rps", "ours_keys_log", "triton_ort", 2),
    ("keys and prediction log, single row, 64 connections", "lr", "c64", "rps", "ours_keys_log", "mlserver_inline", 12),
    ("keys and prediction log, one connection, median latency", "lr", "c1", "p50_ms", "ours_keys_log", "s_proto_batch", 1.8),
    ("keys and one call in ten logged, 64-row requests, 16 connections", "lr", "r64c16", "rps", "ours_keys_log10", "triton_ort", 1.75),
    ("sticky canary, keys and prediction log, single row, 64 connections", "lr", "c64", "rps", "ours_canary", "s_proto_batch", 0.38),
    ("the same, each call from another of 20 000 callers", "lr", "c64", "rps", "ours_canary_many", "s_proto_batch", None),
    ("scikit-learn in a worker, 64 connections", "lr", "c64", "rps", "ours_worker", "mlserver", 5),
    ("scikit-learn in a worker, 1 connection", "lr", "c1", "rps", "ours_worker", "mlserver", 2),
]


def main() -> None:
    """Measure both models, then write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--models", nargs="*", default=["lr", "rf"])
    options.add_argument("--render", action="store_true", help="do not measure")
    given = options.parse_args()
    if not given.render:
        install()
        for model in given.models:
            measure(model, given.rounds, given.seconds)
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))


def install(venvs: list[str] = VENVS) -> None:
    """Install what is missing of the rivals, and train the models."""
    for program, package in (("wrk", "wrk"), ("h2load", "nghttp2-client")):
        if not shutil.which(program):
            sys.exit(f"the load generator {program} is not installed; on Debian and Ubuntu: apt-get install {package}")
    missing = [venv for venv in venvs if not (PEERS / venv / "bin" / "python").exists()]
    if missing or not (PEERS / "models" / "rf.joblib").exists():
        # The rivals are pinned for 3.11; another Python would measure other versions.
        python = shutil.which("python3.11") or sys.exit("the rivals need python3.11")
        environment = {**os.environ, "UV": str(Path(sys.executable).with_name("uv"))}
        subprocess.run([python, str(HERE / "setup.py"), *missing], check=True, env=environment)


def measure(model: str, rounds: int, seconds: int) -> None:
    """Run every entry that has this model."""
    RESULTS.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "run.py"), "--entry", str(HERE / "ours.json"), "--model", model]
    command += ["--rounds", str(rounds), "--seconds", str(seconds), "--out", str(RESULTS / f"{model}.json"), *ENTRIES]
    subprocess.run(command, check=True, env={**os.environ, "OURS_PYTHON": sys.executable})


def results(model: str) -> dict:
    """The last measurement of one model."""
    file = RESULTS / f"{model}.json"
    if not file.exists():
        sys.exit(f"no results for {model}: run make bench")
    return json.loads(file.read_text())


def ratio(document: dict, cell: str, number: str, ours: str, rival: str) -> float | None:
    """How many times the rival's number ours is; None when either was not measured."""
    found = {r["name"]: r for r in document["results"] if r.get("ok")}
    if ours not in found or rival not in found:
        return None
    a, b = (found[name]["cells"][cell] for name in (ours, rival))
    return a[number] / b[number]


def verdicts() -> list[tuple[str, str, float | None, float | None, bool | None]]:
    """(what, rival, ratio, bar, met) for every bar."""
    rows = []
    for what, model, cell, number, ours, rival, bar in BARS:
        value = ratio(results(model), cell, number, ours, rival)
        met = None if value is None or bar is None else (value <= bar if number == "p50_ms" else value >= bar)
        rows.append((what, rival, value, bar, met))
    return rows


def page() -> str:
    """The text of docs/benchmarks.md."""
    lr, rf = results("lr"), results("rf")
    machine = lr["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Read the caveats first.",
        "",
        "- One machine, one model at a time, loopback: the server on one core, the load generator (`wrk`, closed loop,",
        "  keep-alive) on another. Your network, model and hardware are different. Ratios carry over better than rates.",
        "- A closed loop measures p99 at 16 and 64 connections mostly as queueing: rate x latency = connections.",
        "- Every server's answers are compared with scikit-learn's own before and after the load. Penstock runs as",
        "  installed: routing, metrics and the access log are on; `_keys`, `_log` (every call) and `_log10` (one in ten) add those. MLServer, too, logs as installed; others run without.",
        "- `s_proto_batch` is no product: a bare protocol with nothing but the model behind it, as the floor of what this",
        "  language can do. The `_ort` rivals run the same model as ONNX (in single precision; ours is double), so what differs is the server.",
        "- Triton is the binary out of the nvidia-pytriton wheel, with its Python backend: its native ONNX backend could not",
        "  be obtained from a package index.",
        "- Made again by `make bench`; how it measures is in `bench/README.md`.",
        "",
        f"Measured {lr['when'][:10]} on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, kernel "
        f"{machine['kernel']}.",
        "",
        "## Against the bars",
        "",
        "| what | beside | ratio | bar | |",
        "|---|---|---:|---:|---|",
    ]
    for what, rival, value, bar, met in verdicts():
        word = {True: "met", False: "**missed**", None: ""}[met]
        sign = "<=" if "latency" in what else ">="
        lines.append(f"| {what} | `{rival}` | {f'{value:.2f}' if value else 'not measured'} | {f'{sign} {bar:g}' if bar else 'stated'} | {word} |")
    for title, document in (
        ("Logistic pipeline: StandardScaler and LogisticRegression, 30 features", lr),
        ("Forest: 100 trees, 30 features", rf),
    ):
        rounds = f"Medians of {document['rounds']} round(s) of {document['seconds']} s."
        lines += ["", f"## {title}", "", rounds, "", *table(document)]
    return "\n".join(lines) + "\n"


def table(document: dict) -> list[str]:
    """Rates and latencies of one model."""
    lines = [
        "| server | 1 conn. /s | p50 ms | 16 conn. /s | 64 conn. /s | p99 ms | 64 rows /s | start s | PSS MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in document["results"]:
        if not r.get("ok"):
            lines.append(f"| `{r['name']}` | failed: {r.get('error', '?')[:100]} |" + " |" * 7)
            continue
        c = r["cells"]
        lines.append(
            f"| `{r['name']}` | {c['c1']['rps']:,.0f} | {c['c1']['p50_ms']:.3f} | {c['c16']['rps']:,.0f} | {c['c64']['rps']:,.0f} | "
            f"{c['c64']['p99_ms']:.2f} | {c['r64c16']['rps']:,.0f} | {r['cold_start_s']:.2f} | {r['pss_mib']:.0f} |"
        )
    return lines


if __name__ == "__main__":
    main()
