"""The smallest control that can be right: hands out one document by long poll, and keeps every report."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.serving.nodes import free_port, until

from penstock.core.digest import canonical_json


class SmallControl:
    """`publish` changes what nodes are told, `stop` and `start` are a control that goes away and comes back."""

    def __init__(self, key="secret"):
        self.key = key
        self.port = free_port()
        self.reports = []
        self._data, self._mark = b"", (-1, "")
        self._changed = threading.Condition()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def publish(self, document):
        self.publish_bytes(canonical_json(document), (document.generation, document.digest()))

    def publish_bytes(self, data, mark=(10**6, "sha256:?")):
        with self._changed:
            self._data, self._mark = data, mark
            self._changed.notify_all()

    def start(self):
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.headers["authorization"] != f"Bearer {control.key}":
                    return self.answer(401, b"no such key")
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                mark = (int(asked["after"]), asked.get("digest", ""))
                with control._changed:
                    control._changed.wait_for(lambda: control._mark != mark or control._server is None, 30)
                    return self.answer(200, control._data) if control._mark != mark else self.answer(204, b"")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                control.reports.append((urlsplit(self.path).path, body))
                self.answer(200, b"{}")

            def answer(self, status, data):
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self):
        """Go away: nobody listens any more. What is held open is told that nothing is new."""
        server, self._server = self._server, None
        with self._changed:
            self._changed.notify_all()
        if server is not None:
            server.shutdown()
            server.server_close()

    def until_report(self, node, **fields):
        """The first report of the node that has these fields."""

        def found():
            paths = [(path, report) for path, report in self.reports if path == f"/v1/nodes/{node}/report"]
            return [report for _, report in paths if all(report[key] == value for key, value in fields.items())]

        return until(found, what=f"a report of {node} with {fields}")[0]
