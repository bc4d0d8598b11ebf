"""The process beside a node that watches its folders: `python -m penstock.cli.folders SETTINGS`.

It ends when its standard input does: the node that started it holds the other end, however the node ends.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback

import msgspec

from penstock.cli.folders.watch import Watcher, Watching
from penstock.core.clock import monotonic, wall
from penstock.serving.log import Log

LOOK_S = 0.5


def main() -> None:
    """Look until told to stop."""
    watching = msgspec.json.decode(sys.argv[1], type=Watching)
    # As an interrupt, so that what is being packed is cleaned away. SIGINT, too: a shell starts what it puts into the
    # background with that ignored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    log = Log(2, json=not sys.stderr.isatty(), clock=wall)
    threading.Thread(target=_until_end, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        watcher = Watcher(watching, log.event, monotonic)
        pause = threading.Event()
        while True:
            try:
                watcher.look()
            except Exception as error:  # our own defect, or a disk that is full: what is served goes on
                trace = "".join(traceback.format_exception(error))
                log.event("watch-failed", reason=str(error)[:300], trace=trace[-4000:])
            pause.wait(LOOK_S)
    log.close()


def _until_end() -> None:
    sys.stdin.buffer.read()
    main_thread = threading.main_thread().ident
    if main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGTERM)


if __name__ == "__main__":
    main()
