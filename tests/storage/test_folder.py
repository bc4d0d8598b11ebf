"""The folder alone: full disks, killed writers, and files that are none of its business."""

import fcntl
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from penstock.core.digest import digest_of
from penstock.core.errors import Unavailable
from penstock.storage.folder import Folder

PUT = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from penstock.core.errors import PenstockError
    from penstock.storage.folder import Folder
    root, source, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        print(Folder(Path(root)).put(Path(source)))
    except PenstockError as error:
        print(error.code)
""")


def put_in_a_process(root, source, limit_bytes=0):
    return subprocess.run(
        [sys.executable, "-c", PUT, root, source, str(limit_bytes)], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_no_room_is_reported_and_leaves_nothing(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    root = tmp_path / "root"
    assert put_in_a_process(root, source, 100_000) == "disk-full"
    assert list(root.iterdir()) == []
    assert put_in_a_process(root, source) == digest_of(source.read_bytes())


def test_a_really_full_disk(tmp_path):
    """A 256 KiB file system of its own, where the system lets us have one."""
    (tmp_path / "source").write_bytes(os.urandom(1 << 20))
    (tmp_path / "mount").mkdir()
    script = (
        'mount -t tmpfs -o size=256k none "$1/mount" || exit 77;'
        ' "$2" -c "$3" "$1/mount/root" "$1/source" 0; ls -A "$1/mount/root"'
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", tmp_path, sys.executable, PUT]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode in (1, 77) and not result.stdout:
        pytest.skip("this system lets nobody mount a file system of his own")
    assert result.stdout == "disk-full\n", result.stderr


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        Folder(blocker / "root").put(source)
    assert caught.value.code == "artifacts-unavailable"


def test_collect_removes_what_a_killed_writer_left_and_spares_a_living_one(tmp_path):
    (tmp_path / ".partial-dead").write_bytes(b"half")
    (tmp_path / "README").write_bytes(b"the user's own")
    living = tmp_path / ".partial-living"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert Folder(tmp_path).collect(frozenset(), delete=True) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-living", "README"]


def test_blobs_are_readable_by_a_node_of_another_user_and_by_nobody_writable(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    digest = Folder(tmp_path / "root").put(source)
    mode = (tmp_path / "root" / digest.removeprefix("sha256:")).stat().st_mode
    assert stat.S_IMODE(mode) == 0o644
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
