"""Ctrl-C while a model is asked: one line, 130, and nothing left."""

import os
import signal
import subprocess
import sys

import psutil
from tests.serving.nodes import until

MODEL = """
import os, pathlib, threading

pathlib.Path(os.environ["BEGUN"]).write_text(str(os.getpid()))
threading.Event().wait()
"""


def test_an_interrupt_is_one_line_and_leaves_nothing(tmp_path):
    # Given a pack whose child process does not come back from the user's file
    (tmp_path / "slow.py").write_text(MODEL)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    begun, scratch = tmp_path / "begun", tmp_path / "scratch"
    scratch.mkdir()
    pack = subprocess.Popen(
        [sys.executable, "-m", "penstock", "pack", "slow.py:Slow", "--name", "slow", "--sample", "rows.csv"],
        cwd=tmp_path, env={**os.environ, "BEGUN": str(begun), "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Whoever runs tests in the background lets them ignore what a terminal would send.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until(lambda: begun.exists() and begun.read_text())
    try:
        child = psutil.Process(int(begun.read_text()))
        # When a terminal's Ctrl-C reaches everybody in its foreground
        os.killpg(pack.pid, signal.SIGINT)
        said, told = pack.communicate()
    finally:
        pack.kill()
        pack.wait()
        # Nobody else ends what an interrupted pack would leave.
        left = child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        if left:
            child.kill()
    # Then there is one line beside the steps, and the child is gone with its files
    assert pack.returncode == 130
    assert [line for line in told.splitlines() if not line.endswith(" …")] == ["penstock: interrupted"] and not said
    assert not left
    assert list(scratch.iterdir()) == [] and not list(tmp_path.glob("*.penstock"))
