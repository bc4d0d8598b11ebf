"""Penstock in a few minutes: versions of a real model, from training to a rollout that goes back by itself.

Run it with `make demo`. Everything happens in a temporary folder and on loopback; the commands it prints are the ones
you would type.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

import load
import models
import operate
from steps import arguments, free_port, get, post, run, title


def main() -> None:
    """Run every step; a step that does not do what it says ends the demo with an error."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    try:
        demo(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nDone in {time.monotonic() - began:.0f} s. What to try next:")
    print("  penstock pack YOUR_MODEL.joblib --name NAME --sample ROWS.csv --allow-pickle 'I trained it'")
    print("  penstock serve NAME.penstock            then: curl localhost:8080/v2/models/NAME")
    print("  make bench                              Penstock beside other servers, on your machine")
    print("  penstock up                             control and a node; then write penstock.yaml and penstock apply")
    print("  docs/guide/                             packing, serving, gates, control, the prediction log")


def demo(folder: Path) -> None:
    """Train, pack, register, serve, predict, swap, measure."""
    title("Train two versions on scikit-learn's breast cancer data (569 real patients, 30 measurements)")
    for name, accuracy in models.train(folder).items():
        print(f"  {name}: accuracy on held-out rows {accuracy:.3f}")

    title("Pack: compile each model, prove that it answers the same, freeze it")
    for version in ("v1", "v2"):
        run(
            folder,
            f"pack {version}.joblib --name tumour --sample rows.csv --out {version}.penstock "
            "--allow-pickle 'trained a moment ago'",
        )

    title("Register both; the champion is version 1")
    run(folder, "register v1.penstock --alias champion --reason 'first model'")
    run(folder, "register v2.penstock --reason 'gradient boosting'")
    run(folder, "list tumour")

    title("Serve version 1")
    port = free_port()
    write_routes(folder, 1, "v1")
    with Node(folder, port) as node:
        row = json.loads((folder / "row.json").read_text())
        print(f"  $ curl localhost:{port}/predict/tumour -d @rows.json")
        print("  " + post(port, "/predict/tumour", json.dumps({"rows": [row]}).encode()).decode())
        print("  >>> penstock.Client(url).predict('tumour', [row])")
        print("  " + models.predict_with_client(f"http://127.0.0.1:{port}", row))

        title("Swap to version 2 and back while 16 clients call it as fast as they can")
        body = json.dumps({"rows": [row]}).encode()
        with load.Load(port, "/predict/tumour", body, connections=16) as traffic:
            for generation, version in ((2, "v2"), (3, "v1"), (4, "v2")):
                time.sleep(1)
                write_routes(folder, generation, version)
            time.sleep(1)
        result = traffic.result
        accepted, answered = node.counted()
        print(f"  {result.answers} answers, {result.errors} errors, from versions {', '.join(sorted(result.versions))}")
        print(f"  the node accepted {accepted} requests and answered {answered}")
        if result.errors or accepted != answered or len(result.versions) != 2:
            sys.exit("the swap lost something")

        title("Latency and throughput (client and server share this machine)")
        for connections in (1, 16, 64):
            with load.Load(port, "/predict/tumour", body, connections=connections) as traffic:
                time.sleep(1.5)
            print(f"  {connections:3} connections: {traffic.result.summary()}")

    title("Move the alias, and see who changed what")
    run(folder, "alias tumour champion 2 --expect 1 --reason 'better on held-out rows'")
    run(folder, "history tumour")
    run(folder, "audit verify")
    operate.demo(folder)


class Node:
    """A node that follows `routes.json`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def __enter__(self) -> Node:
        command = f"node --name first --routes routes.json --port {self.port} --processes 1"
        print(f"  $ penstock {command}")
        self.log = (self.folder / "node.log").open("wb")
        self.process = subprocess.Popen(arguments(self.folder, command), cwd=self.folder, stderr=self.log)
        deadline = time.monotonic() + 20
        while True:
            try:
                get(self.port, "/v2/health/ready")
                return self
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit((self.folder / "node.log").read_text())
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.log.close()
        if status != 0:
            sys.exit((self.folder / "node.log").read_text())

    def counted(self) -> tuple[int, int]:
        """Requests accepted and answered by now, without the one that asks: it is accepted and not yet answered."""
        page = get(self.port, "/metrics").decode()
        accepted, answered = (
            int(float(re.findall(rf"^penstock_{what}_total (\S+)", page, re.MULTILINE)[0]))
            for what in ("accepted", "answered")
        )
        return accepted - 1, answered


def write_routes(folder: Path, generation: int, version: str) -> None:
    """Publish a route document: written beside and renamed, so that no reader sees half of it."""
    bundle = folder / f"{version}.penstock"
    digest = json.loads(subprocess.check_output(arguments(folder, f"inspect {bundle} --json")))["digest"]
    arm = {"name": "main", "version": f"tumour/{version[1:]}", "bundle": digest, "uri": str(bundle), "weight": 10_000}
    document = {"format": 1, "generation": generation, "endpoints": {"tumour": {"arms": [arm]}}}
    partial = folder / "routes.partial"
    partial.write_text(json.dumps(document))
    partial.replace(folder / "routes.json")


if __name__ == "__main__":
    main()
