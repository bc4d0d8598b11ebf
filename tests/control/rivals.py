"""One of several processes that apply conflicting specs: `rivals.py URL HOME NAME ROUNDS`.

For each line on its input it reads the generation, tells it, waits for the next line, then applies a spec of its own
against that generation; prints what became of it.
"""

import json
import sys
from pathlib import Path

from penstock.control.control import Control
from penstock.control.reading import read_spec
from penstock.core.errors import Conflict
from penstock.security.identity import Identity
from penstock.storage.folder import Folder


def main() -> None:
    url, home, name, rounds = sys.argv[1:]
    who = Identity(subject=name, role="admin")
    with Control.open(url, Folder(Path(home, "artifacts")), Path(home)) as control:
        for turn in range(int(rounds)):
            plan = control.plan(spec_of(name, turn))
            print(plan.generation, flush=True)
            sys.stdin.readline()
            try:
                done = control.apply(spec_of(name, turn), identity=who, expected_generation=plan.generation)
                code = done.error.code if done.error is not None else ""
                print(json.dumps({"state": done.state, "generation": done.generation, "code": code}), flush=True)
            except Conflict as error:
                print(json.dumps({"state": "conflict", "generation": None, "code": error.code}), flush=True)
            sys.stdin.readline()


def spec_of(name, turn):
    """Two endpoints that only this rival in this round would have, so that a mixture would show."""
    none = "gates: {schema: false, golden: false, robustness: false, budget: false}"
    return read_spec(
        f"version: 1\n{none}\nendpoints:\n"
        f"  a: {{model: churn/1, limits: {{deadline_ms: {1000 + turn}}}, recording: {{fields: {{{name}: drop}}}}}}\n"
        f"  b: {{model: churn/1, recording: {{fields: {{{name}: drop}}}}}}\n"
    )


if __name__ == "__main__":
    main()
