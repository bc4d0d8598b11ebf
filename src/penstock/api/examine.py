"""What `penstock doctor` looks at: each check one function that changes nothing and says what to do."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

import msgspec
from sqlalchemy import inspect, select, text

from penstock.control.schema import api_keys, generations
from penstock.core.clock import wall
from penstock.core.errors import PenstockError
from penstock.registry.migrate import known_schemas
from penstock.registry.schema import VERSION_TABLE
from penstock.serving.applied import read_applied
from penstock.serving.board import Boards
from penstock.serving.running import find_running
from penstock.storage.database import Database, open_database
from penstock.storage.locate import open_blobs

LEAST_FREE_BYTES = 2**30
MOST_SKEW_S = 5.0
SOON_S = 7 * 86_400
_NO_BLOB = "sha256:" + "0" * 64


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at; a port that is None is the running one's, else the usual."""

    home: Path
    database_url: str
    artifacts_url: str
    port: int | None
    node_port: int | None
    node: str


class Finding(msgspec.Struct, frozen=True):
    """One check: whether it is well, what was found, and what to do."""

    what: str
    ok: bool
    found: str
    do: str = ""


def examine(examined: Examined) -> list[Finding]:
    """Every check, whatever the others found."""
    checks: list[tuple[str, Callable[[Examined], Iterator[Finding]]]] = [
        ("versions", _versions),
        ("home", _home),
        ("disk", _disk),
        ("database", _database),
        ("artifacts", _artifacts),
        ("ports", _ports),
        ("node", _node),
    ]
    found: list[Finding] = []
    for what, check in checks:
        try:
            found += check(examined)
        except PenstockError as error:
            found.append(Finding(what, False, f"{error.message} [{error.code}]", error.hint))
        except OSError as error:
            found.append(Finding(what, False, str(error), "see the system's log"))
    return found


def _versions(examined: Examined) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info < (3, 15)
    yield Finding("python", ok, f"{version} on {platform.machine()}", "" if ok else "use Python 3.11 to 3.14")
    yield Finding("onnxruntime", True, metadata.version("onnxruntime"))


def _home(examined: Examined) -> Iterator[Finding]:
    home = examined.home
    if not home.is_dir():
        yield Finding("home", False, f"{home} is no folder", "penstock up makes it")
        return
    writable = os.access(home, os.W_OK | os.X_OK)
    yield Finding("home", writable, str(home), "" if writable else f"let this user write to {home}")
    mode = home.stat().st_mode & 0o777
    closed = not mode & 0o077
    yield Finding("home mode", closed, f"{mode:04o}", "" if closed else f"others can look into it: chmod 700 {home}")


def _disk(examined: Examined) -> Iterator[Finding]:
    place = next(path for path in (examined.home, *examined.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    ok = free >= LEAST_FREE_BYTES
    yield Finding("disk", ok, f"{free / 2**30:.1f} GiB free", "" if ok else "free some space")


def _database(examined: Examined) -> Iterator[Finding]:
    path = Path(examined.database_url.removeprefix("sqlite:///"))
    if examined.database_url.startswith("sqlite:") and not path.exists():
        # Opening it would make it.
        yield Finding("database", False, f"{path} does not exist", "penstock up makes it")
        return
    with closing(open_database(examined.database_url)) as database:
        with database.read() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                yield Finding("database", False, f"{database.name} has no tables", "penstock up makes them")
                return
            schema = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one()  # noqa: S608 - ours
        known = known_schemas()
        found = f"{database.name}, schema {schema}"
        if schema != max(known):
            do = "penstock up upgrades it" if schema in known else "a newer Penstock wrote it: upgrade this one"
            yield Finding("database", False, f"{found}, not {max(known)}", do)
            return
        yield Finding("database", True, found)
        yield from _clock(database)
        yield from _keys(database)


def _clock(database: Database) -> Iterator[Finding]:
    if database.dialect != "postgresql":
        return
    with database.read() as connection:
        there = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    skew = abs(there - wall())
    ok = skew <= MOST_SKEW_S
    yield Finding("clock", ok, f"{skew:.1f} s from the database's", "" if ok else "keep both clocks by NTP")


def _keys(database: Database) -> Iterator[Finding]:
    query = select(api_keys.c.id, api_keys.c.subject, api_keys.c.expires_at).where(
        api_keys.c.revoked_at.is_(None), api_keys.c.expires_at.is_not(None)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    now = wall()
    soon = [row for row in rows if now < row.expires_at < now + SOON_S]
    said = ", ".join(f"{row.subject} ({row.id})" for row in soon)
    yield Finding(
        "keys", not soon, f"end within a week: {said}" if soon else "none ends within a week",
        "penstock keys rotate" if soon else "",
    )  # fmt: skip


def _artifacts(examined: Examined) -> Iterator[Finding]:
    # Whether something is there cannot be answered by a store that cannot be reached.
    open_blobs(examined.artifacts_url).exists(_NO_BLOB)
    yield Finding("artifacts", True, examined.artifacts_url)


def _ports(examined: Examined) -> Iterator[Finding]:
    running = find_running(examined.home / "nodes" / examined.node)
    here = _port_of_up(examined.home)
    port = examined.port or here or 8700
    yield _port("control's port", port, port == here)
    node_port = examined.node_port or (running.port if running is not None else 8080)
    yield _port("node's port", node_port, running is not None and running.port == node_port)


def _port(what: str, port: int, ours: bool) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(2)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if taken and not ours:
        return Finding(what, False, f"{port} is another program's", "give another --port")
    return Finding(what, True, f"{port} is {'ours' if taken else 'free'}")


def _port_of_up(home: Path) -> int | None:
    """The port of the `penstock up` that holds this home's lock, if one does."""
    try:
        with (home / "up.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                said = lock.read().strip()
                return int(said) if said.isdigit() else None
    except FileNotFoundError:
        pass
    return None


def _node(examined: Examined) -> Iterator[Finding]:
    state = examined.home / "nodes" / examined.node
    running = find_running(state)
    if running is None:
        yield Finding("node", False, f"{examined.node} does not run", "penstock up starts it")
        return
    processes = len(list(state.glob("applied-*.json")))
    applied = read_applied(state, processes) if processes else None
    ready = applied is not None and Boards(state, processes).all_ready()
    yield Finding("node", ready, f"{running.address}, process {running.pid}", "" if ready else "penstock logs node")
    if applied is None:
        return
    with closing(open_database(examined.database_url)) as database, database.read() as connection:
        newest = connection.execute(select(generations.c.generation).order_by(generations.c.generation.desc())).scalar()
    current = applied.generation >= (newest or 0)
    found = f"{applied.generation} of {newest or 0}"
    yield Finding("generation", current, found, "" if current else "is control running? penstock logs node")
    for endpoint, problem in applied.problems.items():
        yield Finding(f"endpoint {endpoint}", False, problem, "apply a version that loads")
