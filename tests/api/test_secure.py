"""`penstock up` beyond this process's trust: TLS, mutual TLS, certificates that are renewed."""

import json
import socket
import ssl
import subprocess
import sys

import httpx
import pytest
from tests.api.conftest import Up, spec
from tests.serving.certificates import Authority
from tests.serving.nodes import LIMIT_S, START_S, summing_body, until


class SecureUp(Up):
    """Control that is asked over https; `client` is an httpx client that believes its authority."""

    def __init__(self, home, authority, *options):
        super().__init__(home, "", *options)
        self.client = httpx.Client(verify=authority.context(), trust_env=False, timeout=LIMIT_S)
        self.address = f"https://127.0.0.1:{self.port}"

    def is_ready(self):
        assert self.process.poll() is None, self.said()
        try:
            return self.client.get(f"{self.address}/v1/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def command_line(self, *arguments):
        """A `penstock` command that asks this control."""
        given = [sys.executable, "-m", "penstock", *map(str, arguments), "--home", str(self.home)]
        return subprocess.run(
            [*given, "--server", self.address], capture_output=True, text=True, timeout=START_S, check=False
        )

    def close(self):
        self.client.close()
        super().close()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def make_secure(make_up, authority):
    """`make_secure(*options)`: like `make_up`, with a certificate of `authority`."""
    made = []

    def make(*options):
        _, certificate, key = authority.issue("server")
        home = make_up().home
        made.append(SecureUp(home, authority, "--tls-cert", str(certificate), "--tls-key", str(key), *options))
        return made[-1]

    yield make
    for up in made:
        up.close()


def shown(up, authority):
    """The serial number of the certificate that control shows."""
    with (
        socket.create_connection(("127.0.0.1", up.port)) as plain,
        authority.context().wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        return int(secured.getpeercert()["serialNumber"], 16)


def test_control_and_its_node_speak_tls_and_find_each_other(make_secure, authority, archives, tmp_path):
    # Given control behind TLS, and a file that says what to serve
    up = make_secure().start()
    assert f"control  https://127.0.0.1:{up.port}" in up.said()
    file = tmp_path / "penstock.yaml"
    file.write_text(json.dumps({"models": {"sum": {"bundle": str(archives[0])}}, **spec(sum="sum")}))
    # When somebody who does not know the authority asks, nothing is sent
    refused = up.command_line("apply", file)
    assert refused.returncode == 1 and "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    # And when somebody does who knows it, it is done, and the node hears of it
    done = up.command_line("apply", file, "--wait", "--ca-file", authority.file)
    assert done.returncode == 0 and "local" in done.stdout + done.stderr, done.stderr
    answered = up.client.post(f"https://127.0.0.1:{up.node_port}/v2/models/sum/infer", json=summing_body())
    assert answered.json()["outputs"][0]["data"] == [110.0]
    # And its node is found again by the next one
    pid = up.node_pid()
    up.kill()
    up.start()
    assert up.node_pid() == pid and f"process {pid}" in up.said()
    assert up.stop() == 0


def test_a_renewed_certificate_is_shown_without_a_restart(make_secure, authority):
    up = make_secure("--no-node").start()
    first = shown(up, authority)
    second, *_ = authority.issue("server")
    until(lambda: shown(up, authority) == second)
    assert first != second
    # A broken one is told, and the old one stays
    (authority.folder / "server.pem").write_text("no certificate")
    until(lambda: up.events("certificate-refused"))
    assert shown(up, authority) == second


def test_with_a_client_authority_only_its_clients_come_in(make_secure, authority, tmp_path):
    # Given control that asks for certificates; its own node needs none
    _, certificate, key = authority.issue("ana")
    up = make_secure("--tls-client-ca", str(authority.file))
    stranger, up.client = (
        up.client,
        httpx.Client(verify=authority.context((certificate, key)), trust_env=False, timeout=LIMIT_S),
    )
    up.start()
    with stranger, pytest.raises((httpx.TransportError, ssl.SSLError)):
        stranger.get(f"{up.address}/v1/health/ready")
    # Then the command line shows one
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    shows = lambda: up.command_line("status", "--ca-file", authority.file, "--cert-file", both).stdout  # noqa: E731
    until(lambda: "local" in shows())
    # The private socket is the owner's alone, and asks for a key like any door
    private = up.home / "control.sock"
    assert private.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(private)), timeout=LIMIT_S) as client:
        assert client.get("http://localhost/v1/status").status_code == 401


def test_beyond_loopback_it_needs_tls_or_leave(make_up):
    up = make_up("", "--host", "0.0.0.0")
    up.home.mkdir(parents=True)
    refused = subprocess.run(up.command(), capture_output=True, text=True, timeout=START_S, check=False)
    assert refused.returncode == 1 and refused.stderr.endswith("[insecure-address]\n")
    up.options = ("--host", "0.0.0.0", "--insecure")
    up.start()
    assert up.api.get("/v1/status")["keys"] == 2
    up.stop()


def test_a_certificate_that_cannot_be_used_is_told_at_once(make_up, authority):
    _, certificate, _ = authority.issue("server")
    up = make_up("", "--tls-cert", str(certificate), "--tls-key", str(certificate))
    up.home.mkdir(parents=True)
    refused = subprocess.run(up.command(), capture_output=True, text=True, timeout=START_S, check=False)
    assert refused.returncode == 1 and refused.stderr.endswith("[invalid-certificate]\n")
