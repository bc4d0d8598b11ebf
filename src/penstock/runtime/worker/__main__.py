"""A worker process: `python -m penstock.runtime.worker ORDER`, started by `pool` and by nobody else."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path

import msgspec

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import PenstockError, Unavailable
from penstock.runtime import golden
from penstock.runtime.golden import Cost
from penstock.runtime.load import load_model
from penstock.runtime.model import Model
from penstock.runtime.worker.server import Server
from penstock.runtime.worker.wire import PROTOCOL, Order, Status, fault_of, message

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Load, prove and serve one bundle; 0 when drained, 3 when it could not be loaded."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    status = socket.socket(fileno=order.status_fd)
    status.set_inheritable(False)
    _be_a_good_neighbour(order)
    try:
        model, cost = _load(order, status)
    except PenstockError as error:
        _tell(status, Status(failed=fault_of(error)))
        return 3
    except MemoryError:
        words = f"loading the model takes more than twice the {order.memory_bytes >> 20} MiB that are allowed"
        _tell(status, Status(failed=fault_of(Unavailable("worker-memory", words))))
        return 3
    except BaseException as error:  # a model's own code runs here: whatever ends it, the parent must hear why
        traceback.print_exc()
        words = f"loading ended with {type(error).__name__}: {str(error)[:500]}"
        _tell(status, Status(failed=fault_of(Unavailable("model-load-failed", words))))
        return 3
    hello = {"protocol": PROTOCOL, "bundle": order.digest, "pid": os.getpid(), "cost": msgspec.to_builtins(cost)}
    listener = _listen(Path(order.socket))
    _tell(status, Status(stage="ready", cost=cost))
    Server(model, listener, status, message({}, hello), order).serve()
    with contextlib.suppress(Exception):  # nobody is left to be harmed, and the process ends either way
        model.close()
    return 0


def _load(order: Order, status: socket.socket) -> tuple[Model, Cost]:
    _tell(status, Status(stage="verifying the bundle"))
    bundle = verify_directory(Path(order.bundle), order.digest)
    _tell(status, Status(stage="loading the model"))
    model = load_model(bundle, allow_pickle=order.allow_pickle)
    _tell(status, Status(stage="replaying the golden rows"))
    cost = golden.replay(model, bundle)
    gc.collect()
    # What is loaded now stays: collecting it again and again would cost every call.
    gc.freeze()
    return model, cost


def _tell(status: socket.socket, what: Status) -> None:
    status.sendall(msgspec.json.encode(what) + b"\n")


def _be_a_good_neighbour(order: Order) -> None:
    # Dumps every thread's stack, from C and without the interpreter's lock, then lets the alarm end the process.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    os.nice(order.nice)
    if order.memory_bytes:
        # Beyond twice the limit allocations fail inside the model; below it the parent replaces the process in peace.
        resource.setrlimit(resource.RLIMIT_DATA, (2 * order.memory_bytes, 2 * order.memory_bytes))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the machine runs out of memory it is this process that goes, not the node.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
    if os.getppid() != order.parent_pid:
        # The parent died before the line above: nobody would ever end this process.
        os._exit(0)


def _listen(path: Path) -> socket.socket:
    """Listen on `path`: bound beside it and renamed, so that whoever connects meets the old process or the new."""
    scratch = path.with_name(path.name + "~")
    scratch.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(scratch))
    finally:
        os.umask(mask)
    listener.listen(64)
    listener.setblocking(False)
    os.rename(scratch, path)
    return listener


if __name__ == "__main__":
    sys.exit(main())
