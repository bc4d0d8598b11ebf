"""Starting a node: one event loop in this process, or a supervisor and several."""

from __future__ import annotations

import asyncio
import fcntl
import sys

import numpy as np

from penstock.core.errors import Conflict, PenstockError
from penstock.serving.node import Node
from penstock.serving.settings import NodeSettings
from penstock.serving.supervisor import Supervisor

_SWITCH_S = 0.0002


def run_node(settings: NodeSettings, document: bytes | None = None) -> int:
    """Serve until a signal says stop; returns the exit status.

    `document` is written to `settings.routes` first, once it is sure that no other node of this name follows that file:
    a second node that is refused must not change what the first one serves.
    """
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # A second one would take over the first one's counters and model processes.
            raise Conflict(
                "node-running", f"a node named {settings.name!r} is running", hint="stop it, or give this one a --name"
            ) from None
        if document is not None:
            settings.routes.write_bytes(document)
        if settings.processes == 1:
            return run_loop(settings, 0)
        return asyncio.run(Supervisor(settings).run())


def run_loop(settings: NodeSettings, index: int) -> int:
    """Run one event loop of the node in this process."""
    # A float beyond FP32 becomes infinite and is refused as such; numpy need not print a warning about it, too.
    np.seterr(over="ignore")
    # While a version loads on its thread, the event loop waits for the interpreter's lock at most so long, not 5 ms.
    sys.setswitchinterval(_SWITCH_S)

    async def main() -> None:
        await Node(settings, index).run()

    try:
        if sys.platform == "win32":
            asyncio.run(main())
        else:
            import uvloop

            uvloop.run(main())
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        return 1
    return 0
