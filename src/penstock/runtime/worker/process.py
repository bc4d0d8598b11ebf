"""One worker process, seen from its parent: start it, hear how far it has come, end it, know why it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.core.errors import Unavailable
from penstock.runtime.golden import Cost
from penstock.runtime.worker.wire import Order, Status

Log = Callable[..., None]
"""`log(event, **fields)`."""

_MAX_LINE = 4096
_LAST_WORDS_S = 1.0
_status = msgspec.json.Decoder(Status).decode


class WorkerProcess:
    """A started worker. `cost` is what its golden rows were measured to cost, once `ready` has returned."""

    def __init__(
        self,
        process: Process,
        status: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        output: dict[str, socket.socket],
        index: int,
        log: Log,
    ) -> None:
        self.pid = process.pid
        self.cost = Cost(0.0, 0.0, 1)
        self._process = process
        # The worker ends when our end of this socket closes, so it is kept as long as the worker.
        self._status, self._writer = status
        self._last_words: deque[str] = deque(maxlen=12)
        self._pumps = [asyncio.create_task(self._pump(sock, name, index, log)) for name, sock in output.items()]
        self._ended = asyncio.create_task(self._reap())

    @classmethod
    async def start(
        cls, python: Path, order: Order, environment: dict[str, str], index: int, log: Log
    ) -> WorkerProcess:
        """Start the process; it is not ready yet. Raises Unavailable("worker-not-started")."""
        # Sockets of ours, not the event loop's pipes: with those it takes a process for alive as long as anything the
        # model started holds them open.
        pairs = [socket.socketpair() for _ in range(3)]
        (ours, theirs), (out, stdout), (err, stderr) = pairs
        try:
            order = msgspec.structs.replace(order, status_fd=theirs.fileno(), parent_pid=os.getpid())
            process = await asyncio.create_subprocess_exec(
                # -P: the working folder is not a place to import from. -s: nor is the user's own folder.
                str(python), "-P", "-s", "-X", "faulthandler", "-m", "penstock.runtime.worker",
                msgspec.json.encode(order).decode(),
                stdin=DEVNULL, stdout=stdout.fileno(), stderr=stderr.fileno(), pass_fds=(theirs.fileno(),),
                # A group of its own: Ctrl-C at the terminal drains the node and not its models, and what a model
                # starts can be ended with it.
                start_new_session=True, env=environment, cwd=Path(order.socket).parent,
            )  # fmt: skip
        except OSError as error:
            for end, _ in pairs:
                end.close()
            raise Unavailable("worker-not-started", f"{python} cannot be started: {error}") from error
        finally:
            for _, end in pairs:
                end.close()
        return cls(process, await asyncio.open_connection(sock=ours), {"stdout": out, "stderr": err}, index, log)

    async def ready(self, limit_s: float) -> None:
        """Wait until it listens; raises the reason it gave, or what can be known when it died or takes too long."""
        stage = "starting Python"
        try:
            async with asyncio.timeout(limit_s):
                async for line in self._status:
                    status = _status(line)
                    stage = status.stage
                    if status.failed is not None:
                        raise status.failed.to_error()
                    if status.cost is not None:
                        self.cost = status.cost
                        return
        except TimeoutError:
            raise Unavailable("worker-slow", f"the model process was still {stage} after {limit_s:g} s") from None
        ending = described_exit(await self.wait())
        said = " | ".join(self._last_words)[-600:]
        raise Unavailable("worker-died", f"the model process ended while {stage}: {ending}; it said: {said}")

    async def wait(self) -> int:
        """Wait until it has ended and all it wrote is logged; its exit code, negative for a signal."""
        # Shielded: several wait, and one that gives up must not take the end from the others.
        return await asyncio.shield(self._ended)

    def drain(self) -> None:
        """Ask it to finish what it has and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it now, with everything it started."""
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _reap(self) -> int:
        code = await self._process.wait()
        # What the model started goes with the model. Only here and at once: later the number may be another group's.
        self._kill_group()
        _, still_open = await asyncio.wait(self._pumps, timeout=_LAST_WORDS_S)
        for pump in still_open:
            pump.cancel()
        self._writer.close()
        return code

    async def stop(self, limit_s: float) -> None:
        """Drain it, and end it when it has not ended after `limit_s`."""
        self.drain()
        try:
            async with asyncio.timeout(limit_s):
                await self.wait()
        except TimeoutError:
            self.kill()
        await self.wait()

    def memory_bytes(self) -> int:
        """Its private memory now; 0 when it is gone or the system cannot tell (only Linux can)."""
        try:
            _, resident, shared, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")

    async def _pump(self, sock: socket.socket, name: str, index: int, log: Log) -> None:
        stream, writer = await asyncio.open_connection(sock=sock)
        rest = b""
        try:
            while data := await stream.read(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _MAX_LINE:
                    # A line without an end must not fill the memory of the parent.
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._say(line, name, index, log)
        finally:
            writer.close()
        if rest:
            self._say(rest, name, index, log)

    def _say(self, line: bytes, name: str, index: int, log: Log) -> None:
        text = line[:_MAX_LINE].decode(errors="replace")
        self._last_words.append(text)
        log("model-output", worker=index, pid=self.pid, stream=name, text=text)


def described_exit(code: int) -> str:
    """An exit code in words.

    Example:
        >>> described_exit(-11), described_exit(3)
        ('killed by SIGSEGV', 'exit code 3')
    """
    if code >= 0:
        return f"exit code {code}"
    if -code == signal.SIGALRM:
        return "ended because a call ran past its deadline"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
