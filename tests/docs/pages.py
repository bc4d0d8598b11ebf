"""Where the documentation is, and a place to run it: an empty folder, an empty home, nothing of this machine's."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "penstock"
BLOCKS = Path(__file__).with_name("blocks.py")


def page(name):
    """The text of a page, by its path from the root."""
    return (ROOT / name).read_text()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fits(promised, printed):
    """Whether an output is the promised one, where `…` stands for anything, also for several lines."""
    pattern = ".*".join(re.escape(part) for part in promised.rstrip().split("…"))
    return re.fullmatch(pattern, printed.rstrip(), re.DOTALL) is not None


def run_blocks(name, folder):
    """Run every block of a page in `folder`; the outputs must be what the page says, where `…` stands for anything."""
    home = folder / "home"
    home.mkdir()
    work = folder / "work"
    work.mkdir()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    done = subprocess.run(
        [sys.executable, str(BLOCKS), str(ROOT / name), str(free_port())],
        cwd=work, env={"HOME": str(home), "PATH": programs, "USER": "ana"}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for line, promised, printed in results:
        assert fits(promised, printed), f"{name}, line {line} promises\n{promised}\nbut there came\n{printed}"
    return results
