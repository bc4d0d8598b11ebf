"""A full disk, or a process killed while it packs, leaves nothing half-written at `out`."""

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
def test_killed_at_any_moment(out, files, tmp_path):
    moments = random.Random(7)
    whole = 0
    for turn in range(3):
        target = tmp_path / str(turn) / out
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PACK, *map(str, files), str(target)],
            start_new_session=True, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        try:
            process.wait(timeout=moments.uniform(1.0, 4.0))
        except subprocess.TimeoutExpired:
            # The children too: the model's process must not be left behind when only its parent is killed.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if target.exists():
            open_bundle(target, tmp_path / "cache")
            whole += 1
    assert whole < 3


def test_a_killed_parent_takes_the_childs_process_with_it(files, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _PACK, *map(str, files), str(tmp_path / "out")],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 30
    while not (children := _children(process.pid)) and time.monotonic() < deadline:
        os.sched_yield()
    process.kill()
    process.wait()
    assert children
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline
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
