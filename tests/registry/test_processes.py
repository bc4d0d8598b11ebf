"""Several processes on one registry, killed processes, and disks that fill up."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.core.digest import digest_of_file
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder

HERE = Path(__file__).parent
COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "8"))


@pytest.fixture
def make_bundles(make_bundle, tmp_path):
    """Makes a folder of different bundles."""

    def make(count):
        folder = tmp_path / "bundles"
        folder.mkdir()
        for index in range(count):
            make_bundle(os.urandom(100_000)).directory.rename(folder / f"{index:06}")
        return folder

    return make


@pytest.fixture
def start():
    """Starts processes and leaves none behind."""
    with contextlib.ExitStack() as started:

        def start_one(script, *arguments, **options):
            command = [sys.executable, HERE / script, *map(str, arguments)]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start_one


def finish(process):
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    return json.loads(out)


def check_everything(registry, artifacts, tmp_path):
    """Nothing lost, nothing forked, nothing half there."""
    verification = registry.verify_audit()
    assert verification.whole, verification
    versions = registry.versions("m")
    assert [version.number for version in versions] == list(range(len(versions), 0, -1))
    for version in versions:
        assert registry.fetch(version, tmp_path / "cache").digest == version.digest
    registry.collect_garbage(delete=True)
    assert {"sha256:" + path.name for path in artifacts.iterdir()} == {version.blob for version in versions}
    assert all(digest_of_file(path) == "sha256:" + path.name for path in artifacts.iterdir())


def test_processes_on_an_empty_database_lose_and_fork_nothing(
    database_url, artifacts, make_bundles, start, tmp_path, clock
):
    bundles = make_bundles(12)
    # They start before the first table exists, so they also race to create it.
    rivals = [start("rivals.py", database_url, artifacts, bundles, f"rival{n}", COUNT * 4) for n in range(2)]
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    first, second = map(finish, rivals)
    assert first["numbers"] == second["numbers"], "one bundle, one number, whoever was first"
    with Registry.open(database_url, Folder(artifacts), actor="ana", clock=clock) as registry:
        check_everything(registry, artifacts, tmp_path)
        moves = [event for event in registry.events() if event.action == "alias.set"]
        assert len(moves) == 2 * COUNT * 4, "every move that was answered is recorded, and no other"
        assert [move.before for move in moves[1:]] == [move.after for move in moves[:-1]], "each starts where one ended"
        assert registry.aliases("m") == {"live": moves[-1].after["version"]}
        assert {move.actor for move in moves} == {"rival0", "rival1"}


def test_a_process_killed_at_any_moment_leaves_nothing_half_registered(
    database_url, registry, artifacts, make_bundles, start, tmp_path
):
    bundles = make_bundles(COUNT + 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = start(
        "killed.py", database_url, artifacts, bundles, COUNT, COUNT, env={**os.environ, "TMPDIR": str(temporary)}
    )
    killed = finish(process)
    print("KILLED", killed)
    assert killed >= COUNT // 3, "too few were killed before they had finished"
    check_everything(registry, artifacts, tmp_path)
    for path in sorted(bundles.iterdir()):
        registry.register(path, name="m")
    assert len(registry.versions("m")) == COUNT + 1
    check_everything(registry, artifacts, tmp_path)


LIMITED = """
import resource, sys
from pathlib import Path
from penstock.core.errors import PenstockError
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder
url, artifacts, bundle = sys.argv[1:]
with Registry.open(url, Folder(Path(artifacts)), actor="ana") as registry:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        print(registry.register(Path(bundle)).ref)
    except PenstockError as error:
        print(error.code)
"""


def test_no_room_for_the_artifact_registers_nothing(database_url, registry, make_bundle, artifacts):
    bundle = make_bundle(os.urandom(1_000_000))
    command = [sys.executable, "-c", LIMITED, database_url, artifacts, bundle.directory]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "disk-full\n"
    assert registry.models() == []
    assert registry.events() == []
    assert not artifacts.exists() or list(artifacts.iterdir()) == []
    assert registry.register(bundle).number == 1


FULL = """
import os, sys
from pathlib import Path
from penstock.core.errors import PenstockError
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder
root, bundle = map(Path, sys.argv[1:])

def attempt():
    try:
        with Registry.open(f"sqlite:///{root}/x.db", Folder(root / "artifacts"), actor="ana") as registry:
            print(registry.register(bundle).ref)
    except PenstockError as error:
        print(error.code)

with Registry.open(f"sqlite:///{root}/x.db", Folder(root / "artifacts"), actor="ana"):
    pass
filler = os.open(root / "filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, b"x" * 4096)
except OSError:
    os.close(filler)
for spared in map(int, sys.stdin.readline().split()):
    os.truncate(root / "filler", (root / "filler").stat().st_size - spared)
    attempt()
(root / "filler").unlink()
attempt()
with Registry.open(f"sqlite:///{root}/x.db", Folder(root / "artifacts"), actor="ana") as registry:
    print(len(registry.versions("A0._-z")), registry.verify_audit().whole)
"""


def test_a_really_full_disk_registers_nothing_wherever_it_fills_up(make_bundle, tmp_path):
    """Database and artifacts on a small file system of their own; room grows until the database is what fills it."""
    bundle = make_bundle(os.urandom(30_000))
    (tmp_path / "mount").mkdir()
    script = 'mount -t tmpfs -o size=1m none "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    result = subprocess.run(
        [*command, tmp_path / "mount", sys.executable, FULL, bundle.directory],
        input="0 24576 16384 40960\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode in (1, 77) and not result.stdout:
        pytest.skip("this system lets nobody mount a file system of his own")
    *failed, last, end = result.stdout.split("\n")[:-1]
    assert set(failed) == {"disk-full"}, result.stderr + result.stdout
    assert (last, end) == (f"{bundle.manifest.name}/1", "1 True")
