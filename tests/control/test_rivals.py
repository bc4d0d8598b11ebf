"""Two processes that apply conflicting specs at once: one wins, the other gets a conflict, never a mixture."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.control.conftest import ANA

ROUNDS = 8


def test_of_two_processes_one_wins_each_round(control, register, database_url, home):
    register()
    root = Path(__file__).parents[2]
    rivals = {}
    try:
        for name in ("one", "two"):
            command = [sys.executable, Path(__file__).with_name("rivals.py"), database_url, home, name, str(ROUNDS)]
            rivals[name] = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                env={**os.environ, "PYTHONPATH": str(root)},
            )  # fmt: skip
        for turn in range(ROUNDS):
            planned = {name: int(rival.stdout.readline()) for name, rival in rivals.items()}
            assert set(planned.values()) == {turn}
            tell(rivals)
            ends = {name: json.loads(rival.stdout.readline()) for name, rival in rivals.items()}
            winners = [name for name, end in ends.items() if end["state"] == "done"]
            assert len(winners) == 1, ends
            assert sorted(end["code"] for end in ends.values()) == ["", "generation-moved"]
            endpoints = control.routes().endpoints
            assert {name for one in endpoints.values() for name in one.recording.fields} == set(winners)
            assert endpoints["a"].limits.deadline_ms == 1000 + turn
            tell(rivals)
    finally:
        for rival in rivals.values():
            rival.kill()
            rival.communicate()
    assert control.generation().generation == ROUNDS
    assert control.registry(ANA).verify_audit().whole


def tell(rivals):
    for rival in rivals.values():
        rival.stdin.write("go\n")
