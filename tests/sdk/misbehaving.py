"""A server that does on purpose what servers and networks do by accident."""

import json
import socket
import struct
import threading


def answer(status, body, *headers):
    """The bytes of an HTTP answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def problem(status, code, *headers, **more):
    return answer(status, {"error": f"about {code}", "code": code, **more}, *headers)


GOOD = answer(200, {"id": "7", "endpoint": "m", "version": "1", "predictions": ["yes"]}, "penstock-version: m/1")


class Misbehaving:
    """A real server that does the next thing of its script with each request, and remembers the requests.

    A thing is the bytes to answer, or: `reset` (RST), `close` (FIN without an answer), `cut` (half an answer), `silent`
    (nothing until the client goes), `drip` (a byte whenever the last one has left, for ever).
    """

    def __init__(self):
        self.script = []
        self.requests = []
        self.asked = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def plays(self, *script):
        self.script = list(script)
        return self.url

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while request := self._read(stream):
                self.requests.append(request)
                self.asked.set()
                thing = self.script.pop(0)
                if isinstance(thing, bytes):
                    connection.sendall(thing)
                    continue
                getattr(self, "_" + thing)(connection, stream)
                return

    def _read(self, stream):
        try:
            first = stream.readline()
            headers = {}
            while line := stream.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            return first and (first.decode().split()[:2], headers, stream.read(int(headers.get("content-length", 0))))
        except ConnectionError:
            return None

    def _reset(self, connection, stream):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _close(self, connection, stream):
        pass

    def _cut(self, connection, stream):
        connection.sendall(GOOD[:-5])

    def _silent(self, connection, stream):
        stream.read()

    def _drip(self, connection, stream):
        try:
            connection.sendall(b"HTTP/1.1 200 X\r\ncontent-length: 1000000000\r\n\r\n")
            while True:
                connection.sendall(b" ")
        except ConnectionError:
            pass
