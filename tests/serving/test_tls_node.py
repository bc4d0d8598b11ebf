"""TLS on a whole node: who is let in, certificates that are renewed while it answers, clients that do it wrong."""

import contextlib
import http.client
import json
import socket
import ssl

import pytest
from tests.serving.certificates import Authority
from tests.serving.nodes import LIMIT_S, RunningNode, document, endpoint, read_to_end, replies, summing_body, until

import penstock
from penstock.security.tls import TlsSettings


class SecureNode(RunningNode):
    """A node behind TLS; `context` is what this side believes and shows."""

    context = None

    def connection(self, timeout_s=LIMIT_S):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=self.context)

    def socket(self, context=None):
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        try:
            return (context or self.context).wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise

    def serial(self):
        """The serial number of the certificate that a new connection is shown."""
        with self.socket() as client:
            return int(client.getpeercert()["serialNumber"], 16)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def running(directory, authority, bundle, **settings):
    _, certificate, key = authority.issue(directory.name)
    tls = TlsSettings(certificate=certificate, key=key, client_ca=settings.pop("client_ca", None))
    node = SecureNode(directory, tls=tls, **settings)
    node.context = authority.context(settings.get("cert"))
    node.publish(document(1, sum=endpoint(bundle)))
    try:
        yield node
    finally:
        assert node.stop() == 0
        # Every line of the log is one of ours, whatever clients did: no library wrote about it.
        assert not [line for line in node.lines() if line["event"] == "internal-error"]


@pytest.fixture(scope="module")
def node(tmp_path_factory, authority, summing_1):
    with running(tmp_path_factory.mktemp("tls"), authority, summing_1) as node:
        yield node.start()


def test_a_node_answers_over_tls(node):
    status, _, answer = node.post("/v2/models/sum/infer", summing_body())
    assert (status, answer["outputs"][0]["data"]) == (200, [110.0])
    assert node.until_event("serving")["address"].startswith("https://127.0.0.1:")
    with node.socket() as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")


def test_a_body_in_many_pieces_and_many_requests_on_one_connection(node):
    rows = [[1, 2, 3, 4]] * 20_000
    connection = node.connection()
    for _ in range(3):
        connection.request("POST", "/v2/models/sum/infer", json.dumps(summing_body(*rows)).encode())
        answer = json.loads(connection.getresponse().read())
        assert answer["outputs"][0]["data"] == [110.0] * len(rows)
    connection.close()


def test_old_versions_of_tls_are_not_spoken(node, authority):
    old = authority.context()
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    # This side may refuse first: what matters is that they do not agree.
    with pytest.raises((ssl.SSLError, OSError)):
        node.socket(old).close()


@pytest.mark.parametrize(
    "data", [b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n", b"\x00" * 500, b"\x16\x03\x01\xff\xff"]
)
def test_who_speaks_no_tls_gets_no_answer_and_harms_nobody(node, data):
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP/1.1 200" not in node.raw(data)
    assert node.get("/v2/health/live")[0] == 200


def test_broken_requests_are_told_and_closed_as_without_tls(node):
    with node.socket() as client:
        client.sendall(b"BROKEN\r\n\r\n")
        ((status, _, body),) = replies(read_to_end(client))
    assert (status, json.loads(body)["code"]) == (400, "invalid-http")
    with node.socket() as client:
        client.sendall(b"POST /v2/models/sum/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
    assert node.get("/v2/health/live")[0] == 200


def test_the_client_believes_the_authority_it_is_given(node, authority, tmp_path):
    address = f"https://127.0.0.1:{node.port}"
    for verify in (authority.file, str(authority.file), authority.context(), False):
        with penstock.Client(address, verify=verify) as client:
            assert client.models() == ["sum"]
    for verify in (True, Authority(tmp_path, "stranger").file):
        with (
            penstock.Client(address, verify=verify, retries=0) as client,
            pytest.raises(penstock.Unavailable) as refused,
        ):
            client.models()
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_mutual_tls_lets_in_whom_the_authority_signed(tmp_path, authority, summing_1, processes):
    _, *mine = authority.issue("client")
    stranger = Authority(tmp_path, "stranger")
    _, *theirs = stranger.issue("client")
    with running(tmp_path / "mutual", authority, summing_1, client_ca=authority.file, processes=processes) as node:
        node.context = authority.context(mine)
        node.start()
        with penstock.Client(f"https://127.0.0.1:{node.port}", verify=authority.file, cert=tuple(mine)) as client:
            assert client.models() == ["sum"]
        for context in (authority.context(), authority.context(theirs)):
            # In TLS 1.3 the client learns of it with its first read.
            with pytest.raises((ssl.SSLError, OSError)), node.socket(context) as refused:
                refused.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
                if not refused.recv(1):
                    raise ConnectionResetError("closed without a word")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_renewed_certificate_is_shown_and_open_connections_go_on(tmp_path, authority, summing_1, processes):
    with running(tmp_path / "renewed", authority, summing_1, processes=processes) as node:
        node.start()
        before = node.serial()
        held = node.connection()
        held.request("GET", "/v2/health/live")
        held.getresponse().read()
        after, _, _ = authority.issue("renewed")
        node.until_event("certificate-renewed")
        # Each process looks for itself, and new connections come to any.
        until(lambda: {node.serial() for _ in range(6)} == {after}, what="the new certificate")
        assert after != before
        held.request("POST", "/v2/models/sum/infer", json.dumps(summing_body()))
        assert held.getresponse().status == 200
        held.close()


def test_a_certificate_that_cannot_be_used_is_told_once_and_the_old_one_stays(tmp_path, authority, summing_1):
    with running(tmp_path / "damaged", authority, summing_1) as node:
        node.start()
        before = node.serial()
        node.settings.tls.certificate.write_bytes(b"half a certifica")
        assert node.until_event("certificate-refused")["code"] == "invalid-certificate"
        assert node.serial() == before
        after, _, _ = authority.issue("damaged")
        until(lambda: node.serial() == after, what="the mended certificate")
        assert node.get("/v2/health/ready")[0] == 200


@pytest.mark.parametrize("processes", [1, 2])
def test_a_node_with_a_wrong_certificate_does_not_start(tmp_path, authority, summing_1, processes):
    node = SecureNode(
        tmp_path, processes=processes, tls=TlsSettings(certificate=authority.file, key=tmp_path / "nowhere.key")
    )
    node.publish(document(1, sum=endpoint(summing_1)))
    node.start(wait=None)
    assert node.process.wait(LIMIT_S) != 0
    assert "[invalid-certificate]" in node.log_path.read_text()
    assert str(tmp_path / "nowhere.key") in node.log_path.read_text()
    node.process = None
