"""RPCs by h2, frame by frame."""

import socket
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from tests.serving.grpc_clients import INFER
from tests.serving.nodes import LIMIT_S


def prefixed(message, flag=0):
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return struct.pack(">BI", flag, len(body)) + body


class Client:
    """One connection; `calls` are (HTTP status, body, trailers, code of a reset) by stream."""

    def __init__(self, node, **wanted):
        self.socket = socket.create_connection(("127.0.0.1", node.settings.grpc_port), LIMIT_S)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf8"))
        self.h2.initiate_connection()
        if wanted:
            self.h2.update_settings({SettingCodes[name]: value for name, value in wanted.items()})
        self.calls, self.open, self.goaway, self.closed = {}, set(), None, False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def begin(self, path=INFER, *, end=False, **fields):
        number = self.h2.get_next_available_stream_id()
        given = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
                 "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
        given |= {name.replace("_", "-"): value for name, value in fields.items()}
        given = {(f":{name}" if f":{name}" in given else name): value for name, value in given.items()}
        self.h2.send_headers(number, list(given.items()), end_stream=end)
        self.calls[number] = [0, b"", {}, None]
        self.open.add(number)
        self.flush()
        return number

    def send(self, number, data, *, end=False):
        """All of it, as the windows allow."""
        while True:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            part, data = data[:room], data[room:]
            self.h2.send_data(number, part, end_stream=end and not data)
            self.flush()
            if not data:
                return
            if room == len(part) and self.h2.local_flow_control_window(number) == 0:
                self.read()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def read(self):
        data = self.socket.recv(2**18)
        self.closed = not data
        for event in self.h2.receive_data(data):
            call = self.calls.get(getattr(event, "stream_id", None))
            if isinstance(event, ResponseReceived):
                fields = dict(event.headers)
                call[0] = int(fields.pop(":status"))
                call[2] |= fields
            elif isinstance(event, DataReceived):
                call[1] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, TrailersReceived):
                call[2] |= dict(event.headers)
            elif isinstance(event, StreamReset):
                call[3] = event.error_code
                self.open.discard(event.stream_id)
            elif isinstance(event, StreamEnded):
                self.open.discard(event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                self.goaway = (event.error_code, event.additional_data)
        if self.goaway is None:
            self.flush()

    def result(self, number):
        """The call, once it is over."""
        while number in self.open and not self.closed:
            self.read()
        assert number not in self.open
        return self.calls[number]

    def messages(self, number, count):
        """The first messages of an answer, as soon as they are there."""
        while True:
            data, found = self.calls[number][1], []
            while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5])):
                found.append(data[5:end])
                data = data[end:]
            if len(found) >= count:
                return found
            self.read()

    def until_closed(self):
        while not self.closed:
            self.read()
        return self.goaway

    def call(self, message, path=INFER, **fields):
        number = self.begin(path, **fields)
        self.send(number, message if isinstance(message, bytes) else prefixed(message), end=True)
        return self.result(number)
