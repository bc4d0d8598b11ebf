"""The demo's third part: versions take over by rollouts that are judged by what became of the patients."""

from __future__ import annotations

import http.client
import json
import random
from functools import partial
from pathlib import Path

import pandas as pd
from steps import Up, run, title

ENDPOINT = """\
  triage:
    model: {model}
    unit: {{header: x-patient}}
    gates: {{budget: false, robustness: false}}
    rollout:
      strategy: {strategy}
      {more}
      bake_s: 1
      every_s: 1
      timeout_s: {timeout_s}
      least_samples: 50
      metrics:
        errors: {{kind: errors, margin: 0.05}}
        accuracy: {{kind: match, outcome: diagnosis, margin: 0.05, goal: true, guardrail: true}}
"""


def demo(folder: Path, up: Up, spec: str) -> None:
    """A good version is promoted, a subtly bad one goes back, of an equal one nobody can say that it is better."""
    run(
        folder, "pack v4.joblib --name tumour --sample rows.csv --out v4.penstock --allow-pickle 'trained a moment ago'"
    )
    run(folder, "register v4.penstock --reason 'one cut, as the textbook says'")
    apply = partial(ask_for, folder, spec.format(version="tumour@champion"))
    apply("tumour/4", "canary")
    patients = Patients(up, folder)

    title("A better version takes over by canary, judged by the diagnoses that follow")
    print("  " + filled("tumour/1", "canary").replace("\n", "\n  ").rstrip())
    apply("tumour/1", "canary")
    patients.come_until_decided()
    run(folder, "rollout status triage")

    title("One that was trained on other units passes every gate that has no labels; the outcomes find it")
    apply("tumour/3", "canary")
    patients.come_until_decided()
    run(folder, "rollout status triage")
    run(folder, "releases triage")

    title("Is this one better? An experiment that cannot tell asks, and moves nothing")
    apply("tumour/2", "ab", timeout_s=8)
    patients.come_until_decided()
    run(folder, "rollout status triage", expect=3)
    run(folder, "experiment report triage --out triage.html")
    run(folder, "rollout abort triage --reason 'as good as what we have'")


def filled(model: str, strategy: str, timeout_s: int = 90) -> str:
    """The endpoint as the spec says it."""
    more = "steps: [20, 50]" if strategy == "canary" else "share: 50"
    return ENDPOINT.format(model=model, strategy=strategy, timeout_s=timeout_s, more=more)


def ask_for(folder: Path, spec: str, model: str, strategy: str, timeout_s: int = 90) -> None:
    """Write the spec with the endpoint beside what it holds already, and apply it."""
    endpoint = filled(model, strategy, timeout_s)
    (folder / "penstock.yaml").write_text(spec.replace("gates:\n", f"{endpoint}gates:\n", 1))
    run(folder, f"apply --reason 'try {model}' --wait")


class Patients:
    """They come one by one, are triaged, and their diagnosis follows by the request's id."""

    def __init__(self, up: Up, folder: Path) -> None:
        self.up, self.folder = up, folder
        self.key = (folder / "home" / "admin.key").read_text().strip()
        table = pd.read_csv(folder / "held-out.csv")
        self.truth = table.pop("diagnosis").tolist()
        self.rows = table.to_dict("records")
        self.random = random.Random(7)
        self.came = 0

    def come_until_decided(self) -> None:
        """Until the rollout has ended or asks somebody."""
        before, failed = self.came, 0
        node = http.client.HTTPConnection("127.0.0.1", self.up.node_port, timeout=10)
        while not self.decided():
            told = []
            for _ in range(100):
                which = self.random.randrange(len(self.rows))
                self.came += 1
                body = json.dumps({"rows": [self.rows[which]]})
                node.request("POST", "/predict/triage", body, {"x-patient": f"patient-{self.came}"})
                answer = node.getresponse()
                answer.read()
                failed += answer.status != 200
                request_id = answer.headers["x-request-id"]
                told.append({"request_id": request_id, "name": "diagnosis", "value": self.truth[which]})
            self.tell(told)
        node.close()
        print(f"  {self.came - before} patients came, {failed} were not answered")

    def tell(self, outcomes: list[dict[str, str]]) -> None:
        """What they turned out to have."""
        self.ask_control("POST", "/v1/outcomes", json.dumps({"outcomes": outcomes}))

    def decided(self) -> bool:
        """Whether nothing goes on by itself any more."""
        (newest,) = json.loads(self.ask_control("GET", "/v1/rollouts?endpoint=triage&limit=1"))["items"]
        state = newest["rollout"]["state"]
        return bool(state["phase"] == "ended" or state["hold"] == "waiting")

    def ask_control(self, method: str, path: str, body: str | None = None) -> bytes:
        """The answer of control's API."""
        control = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=10)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        control.request(method, path, body, headers)
        answer = control.getresponse().read()
        control.close()
        return answer
