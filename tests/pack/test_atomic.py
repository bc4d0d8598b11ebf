"""A full disk, or a process killed while it packs, leaves nothing half-written at `out`."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest

from penstock.bundle.bundle import open_bundle
from penstock.core.errors import PenstockError
from penstock.pack import pack

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "2"))
_PACK = (
    "import sys; from penstock.pack import pack; "
    "pack(*sys.argv[1:3], name='m', target='left', out=sys.argv[3], allow_pickle='ours')"
)


@pytest.fixture(scope="module")
def files(churn, people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    joblib.dump(churn, folder / "m.joblib")
    people.to_csv(folder / "people.csv", index=False)
    return folder / "m.joblib", folder / "people.csv"


@pytest.fixture
def start(files, tmp_path):
    """`start(out)`: a process that packs, in a group of its own; none is left behind."""
    with contextlib.ExitStack() as started:

        def start_one(out):
            command = [sys.executable, "-W", "ignore", "-c", _PACK, *map(str, files), str(out)]
            process = subprocess.Popen(
                command, start_new_session=True, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)}
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start_one


@pytest.mark.parametrize("out", ["out", "out.penstock"])
def test_a_disk_that_is_full(out, churn, people, tmp_path):
    # A limit on the size of one file fails in the same place and way as a full disk: write() raises OSError.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(PenstockError) as failure:
            pack(churn, people, name="m", target="left", out=tmp_path / out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert failure.value.code == "cannot-write"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("out", ["out", "out.penstock"])
def test_a_file_system_that_is_full(out, files, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    # In a mount namespace of its own, so that the machine's mounts stay as they are.
    script = f"""
        mount -t tmpfs -o size=8k none {full} 2>/dev/null || exit 77
        {sys.executable} -W ignore -c "{_PACK}" {files[0]} {files[1]} {full}/{out} 2>{tmp_path}/said
        echo $?; ls -A {full}
    """
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system")
    assert done.stdout.split() == ["1"]
    assert "cannot-write" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("out", ["out", "out.penstock"])
def test_killed_at_any_moment(out, tmp_path, start):
    """Every second one while it writes, the others at any moment that a whole run has, until enough were killed."""
    chance = random.Random(7)
    began = time.monotonic()
    assert start(tmp_path / "whole" / out).wait() == 0
    took_s = time.monotonic() - began
    killed = turn = 0
    while killed < COUNT:
        turn += 1
        target = tmp_path / str(turn) / out
        target.parent.mkdir()
        process = start(target)
        if turn % 2:
            while process.poll() is None and not any(target.parent.iterdir()):
                os.sched_yield()
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, took_s))
        if process.returncode is None:
            # The children too: the model's process must not be left behind when only its parent is killed.
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if target.exists():
            open_bundle(target, tmp_path / "cache")


def test_a_killed_parent_takes_the_childs_process_with_it(tmp_path, start):
    process = start(tmp_path / "out")
    while not (children := _children(process.pid)):
        assert process.poll() is None, "it ended without a process for the model"
        os.sched_yield()
    process.kill()
    process.wait()
    # Without end where they live on: pytest's own limit is the only clock here.
    while any(_alive(child) for child in children):
        os.sched_yield()


def _children(parent):
    try:
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_existing_folder_is_left_as_it_is(churn, people, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(PenstockError) as failure:
        pack(churn, people, name="m", target="left", out=out)
    assert failure.value.code == "out-exists"
    assert (out / "mine").read_text() == "keep"
