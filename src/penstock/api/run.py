"""The process of `penstock up`, put together: control, its API, what goes on behind it, and the local node."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import msgspec

from penstock.api.access import Rates
from penstock.api.actions import actions_of
from penstock.api.app import Guard, build_app
from penstock.api.doors import Doors
from penstock.api.executor import Executor
from penstock.api.leases import Leases
from penstock.api.local_node import LocalNode
from penstock.api.nodes import node_subject
from penstock.api.rolling import Rolling
from penstock.api.schedules import Schedules
from penstock.api.server import ControlServer, listen, listen_here
from penstock.api.watch import RoutesWatch
from penstock.control.checks import run_gates_here
from penstock.control.control import Control
from penstock.control.looking import LogLook
from penstock.core.clock import monotonic, wall
from penstock.core.errors import Conflict, Unauthenticated
from penstock.predlog.origins import Origins
from penstock.predlog.table_views import open_places
from penstock.security.failures import Failures
from penstock.security.identity import Identity
from penstock.security.issuer_keys import IssuerKeys
from penstock.security.rates import Rate
from penstock.security.tls import TlsSettings
from penstock.security.tokens import IssuerSettings, verify_token
from penstock.serving.log import Log
from penstock.serving.log_file import open_log
from penstock.serving.settings import NodeSettings, address_of
from penstock.storage.database import open_database
from penstock.storage.locate import open_blobs

_HERE = Identity(subject="control", role="admin")
Say = Callable[[str], None]


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `penstock up` was told.

    Without `node` it runs control alone; `rate` is of each caller; with `issuer` its tokens are taken beside keys.
    With `node_socket` control listens there, too, for the local node alone. `log_address` is where the table of the
    prediction log is (default: in the home), `allow_pickle` whether gates may open pickles that have a waiver.
    """

    home: Path
    database_url: str
    artifacts_url: str
    host: str = "127.0.0.1"
    port: int = 8700
    node: NodeSettings | None = None
    rate: Rate = Rate(200, 400)
    issuer: IssuerSettings | None = None
    tls: TlsSettings | None = None
    node_socket: Path | None = None
    log_address: str = ""
    allow_pickle: bool = False

    @property
    def address(self) -> str:
        """Where control answers."""
        return address_of(self.host, self.port, tls=self.tls is not None)

    @property
    def spool(self) -> Path:
        """Where uploads wait."""
        return self.home / "uploads"

    @property
    def log_file(self) -> Path:
        """Where control logs."""
        return self.home / "logs" / "control.log"


def run_up(settings: UpSettings, say: Say) -> int:
    """Run until a signal; returns the exit status. `say` tells people what they need to know."""
    private = settings.node_socket
    with (
        _only_one(settings.home, settings.port),
        listen(settings.host, settings.port) as public,
        listen_here(private) if private is not None else nullcontext() as here,
    ):
        # What was on its way when an earlier control was killed: nobody else would ever take it away.
        shutil.rmtree(settings.spool, ignore_errors=True)
        return asyncio.run(_Up(settings, public, here, say).run())


class _Up:
    def __init__(self, settings: UpSettings, public: socket.socket, here: socket.socket | None, say: Say) -> None:
        self.settings = settings
        self.public = public
        self.here = here
        self.say = say
        self.log = Log(open_log(settings.log_file), json=True, clock=wall)
        self.stop = asyncio.Event()
        self.stops = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        settings = self.settings
        judge = partial(run_gates_here, log_address=settings.log_address, allow_pickle=settings.allow_pickle)
        blobs = open_blobs(settings.artifacts_url)
        look = LogLook(open_places(settings.home, settings.log_address))
        with Control.open(settings.database_url, blobs, settings.home, judge=judge, look=look) as control:
            admin_key = await asyncio.to_thread(control.ensure_admin_key)
            node = await asyncio.to_thread(self._local_node, control)
            async with self._serving(control):
                self._tell(node, admin_key)
                keeping = asyncio.ensure_future(node.keep()) if node is not None else None
                await self.stop.wait()
                self.log.event("stopping")
                # The node first: while it finishes what it owes, control still answers whoever watches.
                if node is not None and keeping is not None:
                    await node.drain()
                    await keeping
        self.log.event("stopped")
        self.log.close()
        return 0

    @asynccontextmanager
    async def _serving(self, control: Control) -> AsyncIterator[None]:
        database = open_database(self.settings.database_url)
        leases = Leases(database, _holder(self.settings.home), wall)
        executor = Executor(control, leases, self.log.event)
        watch = RoutesWatch(control, self.log.event)
        stopping = asyncio.Event()
        places = open_places(self.settings.home, self.settings.log_address)
        doors = Doors(
            control=control,
            watch=watch,
            rates=Rates(self.settings.rate, monotonic),
            failures=Failures(monotonic),
            event=self.log.event,
            spool=self.settings.spool,
            stopping=stopping,
            continue_soon=executor.soon,
            verify_token=_verifier(self.settings),
            post_outcomes=places.outcomes.append,
            origins_of=Origins(self.settings.home, self.settings.log_address).of,
        )
        app = Guard(build_app(doors), self.log.event)
        server = ControlServer(app, self.public, self.here, self.settings.tls, self.log.event)
        actions = actions_of(control, places, _HERE, self.log.event, wall)
        schedules = Schedules(control, actions, leases.claim, self.log.event, wall)
        rolling = Rolling(control, leases, self.log.event)
        work = (watch.run(), executor.run(), rolling.run(), schedules.run(), server.renew())
        tasks = [asyncio.ensure_future(one) for one in work]
        serving = asyncio.ensure_future(server.serve())
        try:
            await server.begun.wait()
            self.log.event("serving", address=self.settings.address, pid=os.getpid())
            yield
        finally:
            stopping.set()
            server.should_exit = True
            await serving
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            database.close()

    def _local_node(self, control: Control) -> LocalNode | None:
        node = self.settings.node
        if node is None or node.following is None or node.following.key_file is None:
            return None
        ensure_node_key(control, node.name, node.following.key_file)
        return LocalNode(node, self.log.event)

    def _tell(self, node: LocalNode | None, admin_key: Path | None) -> None:
        self.say(f"control  {self.settings.address}")
        if node is not None and self.settings.node is not None:
            found = node.adopted
            self.say(
                f"node     {self.settings.node.address}"
                + (f" (found running, process {found.pid})" if found is not None else "")
            )
        self.say(f"key      {admin_key or self.settings.home / 'admin.key'}")
        self.say(f"logs     {self.settings.log_file.parent}")

    def _signalled(self) -> None:
        self.stops += 1
        self.stop.set()
        if self.stops > 1:
            self.log.close()
            os._exit(1)


def _holder(home: Path) -> str:
    """Who holds leases: this home on this machine, whose lock lets in one process at a time.

    So what a killed control held is its successor's at once, and not when the lease ends.
    """
    path = home / "control.id"
    if not path.exists():
        partial = path.with_name("control.id.partial")
        partial.write_text(secrets.token_hex(8))
        partial.replace(path)
    return f"{socket.gethostname()}:{path.read_text()}"


def _verifier(settings: UpSettings) -> Callable[[str], Identity] | None:
    issuer = settings.issuer
    if issuer is None:
        return None
    keys = IssuerKeys(issuer, settings.home / "issuer-keys.json")
    return lambda text: verify_token(text, issuer, keys, wall())


def ensure_node_key(control: Control, name: str, path: Path) -> None:
    """Make the node's key unless the file holds one that is valid."""
    with contextlib.suppress(OSError, Unauthenticated):
        control.identify(path.read_text().strip())
        return
    made = control.create_key(node_subject(name), "viewer", identity=_HERE, reason="the local node")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made.text + "\n")
    partial.replace(path)


@contextmanager
def _only_one(home: Path, port: int) -> Iterator[None]:
    """Hold the home's lock; the file tells `penstock doctor` the port."""
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                "already-up", f"penstock up runs already in {home}", hint="stop it, or give another --home"
            ) from None
        lock.truncate(0)
        lock.write(f"{port}\n")
        lock.flush()
        yield
