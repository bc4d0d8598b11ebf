"""A host of a session without a socket, and h2, another implementation of the protocol, as its client."""

from h2.config import H2Configuration
from h2.connection import H2Connection

from penstock.serving.http2.frames import FRAME_BYTES, PREFACE, SETTINGS, frame, literal
from penstock.serving.http2.heads import Heads
from penstock.serving.http2.session import Http2Limits, Session
from penstock.serving.http2.stream import Sink

FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/echo"), (b":authority", b"x")]
HEAD = b"".join(literal(name, value) for name, value in FIELDS)
HELLO = PREFACE + frame(SETTINGS, 0, 0)
OK = b"\x88"
TRAILERS = literal(b"end", b"here")


class Echo(Sink):
    """Sends a request's body back; asks for as much as `lacking` says, once it has begun."""

    def __init__(self, host, stream):
        self.host, self.stream, self.body, self.is_lost = host, stream, b"", False

    def data(self, payload):
        self.body += payload
        self.host.session.grants.allow(self.stream, self.host.lacking(self))

    def end(self):
        self.host.ended.append(self)
        if self.host.answering:
            self.host.session.sending.respond(self.stream, OK, self.body, TRAILERS)

    def lost(self):
        self.is_lost = True


class EchoHost:
    """What is written is in `out`; with `answering` off nothing is answered by itself."""

    def __init__(self, *, answering=True, lacking=lambda call: 0, clock=lambda: 0.0, **limits):
        self.out, self.begun, self.ended, self.empty = b"", [], [], 0
        self.answering, self.lacking = answering, lacking
        self.session = Session(self, Heads(dict, 65_536), Http2Limits(**limits), clock)

    def begin(self, stream, head):
        self.begun.append((Echo(self, stream), head))
        return self.begun[-1][0]

    def write(self, data):
        self.out += data

    def emptied(self):
        self.empty += 1

    def take(self):
        out, self.out = self.out, b""
        return out

    def frames(self):
        """(kind, flags, stream, payload) of what was written."""
        return list(split(self.take()))


def split(data):
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 3])
        yield data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]), data[at + 9 : at + 9 + size]
        at += 9 + size
    assert at == len(data)


def greeted(**options):
    """A host whose client said hello."""
    host = EchoHost(**options)
    host.session.feed(HELLO)
    host.take()
    return host


def h2_client():
    client = H2Connection(H2Configuration(client_side=True, header_encoding=False))
    client.initiate_connection()
    return client


assert len(HEAD) < FRAME_BYTES
