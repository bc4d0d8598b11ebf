"""Starting a node: one event loop in this process, or a supervisor and several."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager, ExitStack

import numpy as np

from penstock.core.clock import wall
from penstock.core.errors import PenstockError
from penstock.serving.applied import forget_applied
from penstock.serving.grpc.available import check_grpc
from penstock.serving.log import Log
from penstock.serving.log_file import open_log
from penstock.serving.node import Node
from penstock.serving.running import only_one, write_running
from penstock.serving.settings import Following, NodeSettings
from penstock.serving.supervisor import Supervisor

_SWITCH_S = 0.00005


def run_node(
    settings: NodeSettings, document: bytes | None = None, beside: AbstractContextManager[None] | None = None
) -> int:
    """Serve until a signal says stop; returns the exit status.

    `document` is written to `settings.routes` first, once it is sure that no other node of this name follows that file:
    a second node that is refused must not change what the first one serves. For the same reason `beside`, which goes on
    as long as the node does, is entered then.
    """
    check_grpc(settings)
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(settings.state, settings.name), ExitStack() as stack:
        forget_applied(settings.state)
        (settings.state / "overlay.json").unlink(missing_ok=True)
        write_running(settings)
        if settings.log_file is not None:
            # The descriptor itself, not sys.stderr: event loops and model processes inherit it.
            os.dup2(open_log(settings.log_file), 2)
        if document is not None:
            settings.routes.write_bytes(document)
        if beside is not None:
            stack.enter_context(beside)
        if settings.following is not None:
            _follow(settings, settings.following)
        if settings.processes == 1:
            return run_loop(settings, 0)
        return asyncio.run(Supervisor(settings).run())


def _follow(settings: NodeSettings, following: Following) -> None:
    # Imported here: a node that follows a file needs no HTTP client.
    from penstock.serving.follow import Follower

    Follower(settings, following, Log(2, json=not sys.stderr.isatty(), clock=wall)).start()


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
