"""The loop of a worker: one model, many connections, one batch at a time, each connection in its turn."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque

from penstock.core.clock import monotonic
from penstock.core.errors import DeadlineExceeded, InvalidInput, ModelFailed, PenstockError
from penstock.core.frames import decode_frame
from penstock.runtime.model import Model
from penstock.runtime.worker.wire import Messages, Order, fault_of, message

_READ_BYTES = 1 << 18
_WATCH_S = 0.25


class Connection:
    """One event loop's connection: its requests that wait, and the part of an answer the socket did not take yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.messages = Messages()
        self.waiting: deque[memoryview] = deque()
        self.unsent = b""


class Server:
    """Serves `model` on `listener` until it is told to stop or its parent is gone."""

    def __init__(
        self, model: Model, listener: socket.socket, status: socket.socket, hello: bytes, order: Order
    ) -> None:
        self._model = model
        self._listener = listener
        self._status = status
        self._hello = hello
        self._order = order
        self._connections: set[Connection] = set()
        self._turns: deque[Connection] = deque()
        self._end_at: float | None = None
        self._told_to_stop = False
        self._stop_at: float | None = None
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Answer until drained: after SIGTERM existing connections are served until they close or time is up."""
        # A signal's handler alone does not end a `select` (PEP 475); a byte on this socket does.
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        threading.Thread(target=self._watch, daemon=True).start()
        self._selector.register(woken, selectors.EVENT_READ, lambda mask: woken.recv(64))
        self._selector.register(self._listener, selectors.EVENT_READ, lambda mask: self._accept())
        # The parent never writes here: what becomes readable is the end of it. PR_SET_PDEATHSIG is Linux only.
        self._selector.register(self._status, selectors.EVENT_READ, lambda mask: self._orphaned())
        while self._stop_at is None or (self._connections and monotonic() < self._stop_at):
            wait = 0 if self._turns else None if self._stop_at is None else max(0.0, self._stop_at - monotonic())
            for key, mask in self._selector.select(wait):
                key.data(mask)
            if self._told_to_stop and self._stop_at is None:
                self._drain()
            if self._turns:
                # One batch, then look at the sockets again: who asked first is served first.
                self._turn(self._turns.popleft())

    def _orphaned(self) -> None:
        os._exit(0)

    def _watch(self) -> None:
        # A model may take the alarm for itself, or set it anew: then this ends the process, a moment later.
        while True:
            time.sleep(_WATCH_S)
            end_at = self._end_at
            if end_at is not None and monotonic() > end_at + _WATCH_S:
                os.write(2, b"the model computes past its deadline and does not hear the alarm\n")
                os.kill(os.getpid(), signal.SIGKILL)

    def _stop(self, number: int, frame: object) -> None:
        # Only a note: this may run in the middle of a send, or of the model.
        self._told_to_stop = True

    def _drain(self) -> None:
        self._stop_at = monotonic() + self._order.drain_s
        self._selector.unregister(self._listener)
        self._listener.close()
        # Clients stop sending and close after their answer; without it they would keep the process for all of drain_s.
        for connection in list(self._connections):
            self._send(connection, message({}, {"closing": True}))

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            # The client gave up between the select and here.
            return
        sock.setblocking(False)
        connection = Connection(sock)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._ready(connection, mask))
        self._send(connection, self._hello)

    def _ready(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send(connection, b"")
        if not mask & selectors.EVENT_READ or connection not in self._connections:
            return
        try:
            data = connection.sock.recv(_READ_BYTES)
            frames = connection.messages.feed(data)
        except BlockingIOError:
            return
        except (OSError, InvalidInput):
            data = b""
        if not data:
            self._drop(connection)
        elif frames:
            if not connection.waiting:
                self._turns.append(connection)
            connection.waiting.extend(frames)

    def _turn(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._send(connection, self._answer(connection.waiting.popleft()))
        if connection.waiting:
            self._turns.append(connection)

    def _answer(self, frame: memoryview) -> bytes:
        call = -1
        try:
            inputs, meta = decode_frame(frame)
            call = int(meta.get("call", -1))
            now, limit = monotonic(), self._order.call_limit_s
            deadline = float(meta.get("deadline", now + limit))
            if deadline <= now:
                raise DeadlineExceeded("deadline-exceeded", "the deadline passed while the batch waited for the model")
            # The kernel ends the process if the model does not come back, even when it holds the interpreter's lock.
            allowed_s = min(deadline - now, limit) + self._order.grace_s
            self._end_at = now + allowed_s
            signal.setitimer(signal.ITIMER_REAL, allowed_s)
            try:
                outputs = self._model.run(inputs, meta.get("parameters"))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self._end_at = None
            return message(outputs, {"call": call, "seconds": monotonic() - now})
        except PenstockError as error:
            return message({}, {"call": call, "error": fault_of(error)})
        except BaseException as error:  # a model may also raise SystemExit or KeyboardInterrupt: only its batch fails
            sys.stderr.write(f"the model raised {type(error).__name__}\n")
            words = f"the model raised {type(error).__name__}: {str(error)[:300]}"
            return message({}, {"call": call, "error": fault_of(ModelFailed("model-failed", words))})

    def _send(self, connection: Connection, data: bytes) -> None:
        data = connection.unsent + data if connection.unsent else data
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        was, connection.unsent = bool(connection.unsent), data[sent:]
        if was != bool(connection.unsent):
            # A client that reads slowly must not hold up the others: the rest leaves when its socket has room.
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
            key = self._selector.get_key(connection.sock)
            self._selector.modify(connection.sock, events, key.data)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()
