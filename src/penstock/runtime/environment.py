"""The Python a model process needs: locked from what is installed when packing, found again or built where it runs.

Its identity is the digest of (Python minor version, platform, pinned names with their hashes); environments are kept
under `<home>/envs/<identity>` and never changed after they were built.
"""

from __future__ import annotations

import os
import platform as host
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path

from penstock.bundle.manifest import Environment
from penstock.core.digest import canonical_json, digest_of, digest_of_file
from penstock.core.errors import InvalidInput, NotFound, Unavailable

# What a worker itself imports, whatever the model is.
_WORKER_NEEDS = ("msgspec", "numpy")
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_BUILD_LIMIT_S = 1800


def lock_current(distributions: list[str]) -> tuple[str, Environment]:
    """Pin `distributions` and everything they need, as installed here: (text of the requirements file, environment).

    The text carries no hashes: an installed package does not know the hash of the wheel it came from. `lock_wheels`
    adds them where the bundle carries its wheels. Raises NotFound("unknown-distribution").
    """
    pins = _closure([*distributions, *_WORKER_NEEDS])
    return _locked([f"{name}=={version}" for name, version in sorted(pins.items())], wheels="")


def lock_resolved(requirements: str, python: str, scratch: Path) -> tuple[str, Environment]:
    """Resolve a requirements file with uv for a minor version of Python (empty: this one's), as `lock_current` returns.

    `scratch` is a folder to work in. Raises Unavailable("environment-build-failed") with what uv said.
    """
    asked, locked = scratch / "asked.txt", scratch / "locked.txt"
    asked.write_text(requirements.rstrip() + "".join(f"\n{name}" for name in _WORKER_NEEDS) + "\n")
    wanted = python or _python()
    options = ["--no-header", "--no-annotate", "--python-version", wanted, "--no-python-downloads"]
    # A package without a wheel would run its own set-up before anybody agreed to run anything.
    options += ["--only-binary", ":all:"]
    _uv(scratch, "pip", "compile", *options, "--output-file", str(locked), str(asked))
    lines = [line for line in locked.read_text().splitlines() if line.strip() and not line.startswith(("#", "-"))]
    pins_of("\n".join(lines))
    return _locked(lines, wheels="", python=wanted)


def lock_wheels(requirements: str, wheels: Path, folder: str) -> tuple[str, Environment]:
    """The lock with the hashes of the wheels in `wheels`, which lie in the bundle under `folder`.

    Raises NotFound("wheel-missing") for a pinned package without a wheel.
    """
    hashes: dict[str, list[str]] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        hashes.setdefault(f"{_normal(name)}=={version}", []).append(digest_of_file(wheel))
    lines = []
    for name, version in pins_of(requirements).items():
        known = hashes.get(f"{name}=={version}")
        if not known:
            raise NotFound("wheel-missing", f"there is no wheel of {name}=={version} in {wheels}")
        lines.append(" ".join([f"{name}=={version}", *(f"--hash={digest}" for digest in known)]))
    return _locked(lines, wheels=folder)


def pins_of(requirements: str) -> dict[str, str]:
    r"""The pinned versions by normalised name; raises InvalidInput("damaged-environment") for any other line.

    Example:
        >>> pins_of("# a comment\nNumPy==2.1.0\n")
        {'numpy': '2.1.0'}
    """
    pins = {}
    for line in requirements.splitlines():
        if not line or line.startswith("#"):
            continue
        if not (match := _PIN.match(line)):
            raise InvalidInput("damaged-environment", f"{line[:80]!r} is not a pinned requirement")
        pins[_normal(match[1])] = match[2]
    return pins


def python_for(environment: Environment, requirements: str, home: Path) -> Path:
    """The interpreter that has exactly what `requirements` (the text of the lock) pins.

    The current one where every pinned version is installed, else the one built before; nothing is built here, so a
    restart never waits for an index. Raises Unavailable("environment-missing") with what is missing.
    """
    _check_identity(environment, requirements)
    missing = _missing_here(environment, requirements)
    if not missing:
        return Path(sys.executable)
    built = _interpreter(_folder(environment, home))
    if built.exists():
        return built
    raise Unavailable(
        "environment-missing",
        f"this Python is not the model's environment ({'; '.join(missing[:5])}), and it was not built in {home}",
        hint="build it where the bundle is registered, or pack with --vendor to carry its wheels",
    )


def build(environment: Environment, requirements: str, home: Path, wheels: Path | None = None) -> Path:
    """Build the environment with uv and return its interpreter; one that is already there is returned as it is.

    From `wheels` alone when given, else from the index uv is configured with. It is built beside its final place and
    renamed, so a killed build leaves nothing that looks finished. Raises Unavailable("environment-build-failed").
    """
    _check_identity(environment, requirements)
    final = _folder(environment, home.resolve())
    if _interpreter(final).exists():
        return _interpreter(final)
    final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=final.parent))
    try:
        (scratch / "requirements.txt").write_text(requirements)
        target = scratch / "venv"
        # A path, not a version, where it is the same one: uv might prefer another Python of that version.
        python = sys.executable if environment.python == _python() else environment.python
        _uv(scratch, "venv", "--no-project", "--relocatable", "--python", python, "--no-python-downloads", str(target))
        source = ["--no-index", "--find-links", str(wheels.resolve())] if wheels else []
        hashed = ["--require-hashes"] if "--hash=" in requirements else []
        # --no-deps: the lock is whole. What it leaves out was not installed when packing either.
        options = ["--no-deps", "--compile-bytecode", *source, *hashed, "-r", str(scratch / "requirements.txt")]
        _uv(scratch, "pip", "install", "--python", str(_interpreter(target)), *options)
        try:
            os.rename(target, final)
        except OSError:
            # Another process built the same environment first; its name is what is in it, so theirs serves as well.
            if not _interpreter(final).exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _interpreter(final)


def _uv(folder: Path, *arguments: str) -> None:
    command = [_uv_program(), "--quiet", *arguments]
    try:
        # Not in the current folder: uv would take settings from whatever project lies there.
        subprocess.run(
            command, capture_output=True, timeout=_BUILD_LIMIT_S, check=True, stdin=subprocess.DEVNULL, cwd=folder
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("environment-build-failed", f"uv {arguments[0]} took over {_BUILD_LIMIT_S} s") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())[-800:]
        raise Unavailable("environment-build-failed", f"uv {arguments[0]} failed: {said}") from error


def _uv_program() -> str:
    try:
        program: str | None = import_module("uv").find_uv_bin()
    except (ImportError, FileNotFoundError):
        program = shutil.which("uv")
    if program is None:
        raise Unavailable("uv-missing", "building an environment needs uv", hint="pip install 'penstock[pack]'")
    return program


def _closure(distributions: Iterable[str]) -> dict[str, str]:
    from packaging.requirements import Requirement

    pins: dict[str, str] = {}
    visited: set[tuple[str, str]] = set()
    waiting = [(Requirement(name), True) for name in distributions]
    while waiting:
        requirement, asked = waiting.pop()
        name = _normal(requirement.name)
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if asked:
                raise NotFound("unknown-distribution", f"{requirement.name} is not installed here") from None
            # What was asked for works here without it, so it will work there without it.
            continue
        if name == "penstock":
            continue
        pins[name] = installed.version
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            for text in installed.requires or []:
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append((needed, False))
    return pins


def _locked(lines: list[str], wheels: str, python: str = "") -> tuple[str, Environment]:
    requirements, python = "".join(f"{line}\n" for line in lines), python or _python()
    identity = _identity(python, _platform(), requirements)
    return requirements, Environment(
        python=python, platform=_platform(), requirements="requirements.txt", identity=identity, wheels=wheels
    )


def _identity(python: str, platform: str, requirements: str) -> str:
    return digest_of(canonical_json([python, platform, requirements.split("\n")]))


def _check_identity(environment: Environment, requirements: str) -> None:
    if _identity(environment.python, environment.platform, requirements) != environment.identity:
        raise InvalidInput(
            "damaged-environment", "the requirements are not those the environment's identity was made from"
        )


def _missing_here(environment: Environment, requirements: str) -> list[str]:
    """What the current interpreter lacks, in words; versions are compared, as installed packages have no hashes."""
    missing = []
    if environment.python != _python():
        missing.append(f"Python {environment.python}, here {_python()}")
    if environment.platform != _platform():
        missing.append(f"platform {environment.platform}, here {_platform()}")
    for name, version in pins_of(requirements).items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "nothing"
        if here != version:
            missing.append(f"{name}=={version}, here {here}")
    return missing


def _folder(environment: Environment, home: Path) -> Path:
    return home / "envs" / environment.identity.removeprefix("sha256:")


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _platform() -> str:
    """Like `linux-x86_64-glibc`: a wheel for one C library does not run on the other."""
    library = host.libc_ver()[0] or "none" if sys.platform == "linux" else "none"
    return sysconfig.get_platform() + ("" if library == "none" else f"-{library}")
