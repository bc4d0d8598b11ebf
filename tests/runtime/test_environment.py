"""Environments: locked from what is installed, found again by their identity, built once and never half."""

import asyncio
import base64
import hashlib
import multiprocessing
import os
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from tests.runtime.conftest import ROWS, python_bundle

from penstock.core.errors import InvalidInput, NotFound, Unavailable
from penstock.runtime import environment
from penstock.runtime.environment import build, lock_current, lock_wheels, pins_of, python_for
from penstock.runtime.worker.client import WorkerRunner
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.runtime.worker.pool import WorkerPool

LOCK = Path(__file__).parents[2] / "requirements" / "all.txt"


def wheel(folder, name, version, source):
    """A wheel made on the spot."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
               for path, text in files.items()}  # fmt: skip
    record = "".join(f"{path},sha256={digests[path]},{len(text)}\n" for path, text in files.items())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(member, text)
    return path


@pytest.fixture
def foreign(tmp_path):
    """A lock of one package that is not installed here, with its wheel: (requirements, environment, wheels)."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "tinymodel", "1.2.3", "ANSWER = 42\n")
    requirements, locked = lock_wheels("tinymodel==1.2.3\n", wheels, "wheels")
    return requirements, locked, wheels


def test_a_lock_names_everything_that_is_needed_with_its_version():
    text, locked = lock_current(["scikit-learn"])
    pins = pins_of(text)
    assert {"scikit-learn", "scipy", "joblib", "threadpoolctl", "numpy", "msgspec"} <= pins.keys()
    assert all(metadata.version(name) == version for name, version in pins.items())
    assert text.splitlines() == sorted(text.splitlines()) and locked.identity.startswith("sha256:")
    # What is only needed for an extra, or only for another system, is left out.
    assert "pytest" not in pins and "pandas" not in pins


def test_a_lock_is_the_same_however_it_was_asked_for():
    assert lock_current(["scikit-learn", "pandas"]) == lock_current(["Pandas", "scikit_learn", "pandas"])


def test_an_extra_brings_what_it_needs():
    assert "alembic" not in pins_of(lock_current(["sqlalchemy"])[0])
    assert "greenlet" in pins_of(lock_current(["sqlalchemy[asyncio]"])[0])


def test_a_package_that_is_not_installed_cannot_be_locked():
    with pytest.raises(NotFound, match="unknown-distribution"):
        lock_current(["no-such-package-anywhere"])


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "-e .", "git+https://example.org/x", "--index-url x"])
def test_only_pins_are_read(line):
    with pytest.raises(InvalidInput, match="damaged-environment"):
        pins_of(f"msgspec==0.20\n{line}\n")


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True), st.integers(0, 99).map(str), max_size=5))
def test_pins_are_read_as_written(pins):
    assert pins_of("".join(f"{name}=={version}\n" for name, version in pins.items())) == pins


def test_the_current_python_serves_its_own_lock(tmp_path):
    text, locked = lock_current(["numpy"])
    assert python_for(locked, text, tmp_path).samefile(environment.sys.executable)


def test_requirements_that_were_changed_are_refused(tmp_path):
    text, locked = lock_current(["numpy"])
    for call in (python_for, build):
        with pytest.raises(InvalidInput, match="damaged-environment"):
            call(locked, text + "evil==1\n", tmp_path)


def test_another_python_is_not_this_one(tmp_path):
    text, locked = lock_current(["numpy"])
    with pytest.raises(InvalidInput):
        python_for(msgspec.structs.replace(locked, python="3.99"), text, tmp_path)
    other = msgspec.structs.replace(
        locked, python="3.99", identity=environment._identity("3.99", locked.platform, text)
    )
    with pytest.raises(Unavailable, match=r"Python 3\.99.*environment-missing"):
        python_for(other, text, tmp_path)


def test_a_built_environment_is_found_and_holds_what_was_locked(tmp_path, foreign):
    requirements, locked, wheels = foreign
    assert "--hash=sha256:" in requirements and locked.wheels == "wheels"
    home = tmp_path / "home"
    with pytest.raises(Unavailable, match=r"tinymodel==1\.2\.3, here nothing.*environment-missing"):
        python_for(locked, requirements, home)
    python = build(locked, requirements, home, wheels)
    said = environment.subprocess.check_output([python, "-c", "import tinymodel; print(tinymodel.ANSWER)"], text=True)
    assert said == "42\n" and python_for(locked, requirements, home) == python
    # Byte-code is there already: the first start after a build is as fast as the others.
    assert list(python.parent.parent.rglob("tinymodel.*.pyc"))
    assert [path.name for path in (home / "envs").iterdir()] == [locked.identity.removeprefix("sha256:")]


def test_a_wheel_that_was_changed_is_not_installed(tmp_path, foreign):
    requirements, locked, wheels = foreign
    wheel(wheels, "tinymodel", "1.2.3", "ANSWER = 43\n")
    with pytest.raises(Unavailable, match=r"(?i)hash.*environment-build-failed"):
        build(locked, requirements, tmp_path / "home", wheels)
    assert list((tmp_path / "home" / "envs").iterdir()) == []


def test_a_pin_without_a_wheel_is_named(tmp_path, foreign):
    with pytest.raises(NotFound, match=r"other==1.*wheel-missing"):
        lock_wheels("other==1\n", foreign[2], "wheels")


def _build(requirements, locked, home, wheels):
    build(locked, requirements, home, wheels)


def test_two_processes_that_build_the_same_leave_one(tmp_path, foreign):
    requirements, locked, wheels = foreign
    home = tmp_path / "home"
    context = multiprocessing.get_context("spawn")
    builders = [context.Process(target=_build, args=(requirements, locked, home, wheels)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert len(list((home / "envs").iterdir())) == 1


def _another_python():
    """An interpreter of another minor version, where this one has such a neighbour (as pyenv and uv lay them out)."""
    found = sorted(Path(sys.base_prefix).parent.glob("*/bin/python3.1[1-4]"))
    return next((python for python in found if python.name != f"python{environment._python()}"), None)


def _locked_for(minor):
    """What a worker needs on that Python, in the versions the project's own lock has for it.

    Not this Python's: a release of numpy that this one runs need not exist for the other.
    """
    lines = [line.rstrip("\\ ") for line in LOCK.read_text().splitlines() if line.startswith(("numpy==", "msgspec=="))]
    asked = {"python_version": minor, "python_full_version": f"{minor}.0"}
    wanted = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(asked)]
    requirements = "".join(sorted(f"{one.name}{one.specifier}\n" for one in wanted))
    identity = environment._identity(minor, environment._platform(), requirements)
    here = lock_current(["numpy"])[1]
    return requirements, msgspec.structs.replace(here, python=minor, identity=identity)


@pytest.mark.parametrize("other", [False, True], ids=["this Python", "another Python"])
def test_a_model_runs_in_an_environment_of_its_own(tmp_path, monkeypatch, other):
    """Built for real from the index uv is configured with: numpy and msgspec are all a worker needs."""
    requirements, locked = lock_current(["numpy"])
    if other:
        neighbour = _another_python()
        if neighbour is None:
            pytest.skip("no other Python lies beside this one")
        monkeypatch.setenv("PATH", str(neighbour.parent), prepend=os.pathsep)
        requirements, locked = _locked_for(neighbour.name.removeprefix("python"))
    assert set(pins_of(requirements)) == {"numpy", "msgspec"}
    python = build(locked, requirements, tmp_path / "home")
    source = """
import importlib.util

class Model:
    def predict(self, x):
        assert importlib.util.find_spec("sklearn") is None
        return x.sum(axis=1).astype("f8")
"""
    bundle = python_bundle(tmp_path / "bundle", source)

    async def body():
        pool = WorkerPool(bundle, python, tmp_path / "run", WorkerPolicy(), log=lambda *_, **__: None)
        await pool.start()
        runner = WorkerRunner(tmp_path / "run", bundle.digest, 1)
        await runner.connect()
        future = asyncio.get_running_loop().create_future()
        runner.start({"x": ROWS}, None, 10, future.set_result)
        answer = await future
        await runner.close()
        await pool.close()
        assert answer["predictions"].tolist() == ROWS.sum(axis=1).astype("f8").tolist()

    asyncio.run(body())
