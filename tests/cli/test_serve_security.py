"""`penstock serve` beyond loopback: only with keys and TLS, and what an access file may hold."""

import json

import pytest
from tests.cli.test_serve import serving
from tests.serving.certificates import Authority

import penstock
from penstock.security.keys import new_key


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
def access(tmp_path, key):
    path = tmp_path / "access.json"
    path.write_text(json.dumps({"keys": {key[1]: {"digest": key[2], "subject": "ana"}}}))
    return path


@pytest.fixture
def tls(tmp_path):
    authority = Authority(tmp_path)
    _, certificate, private = authority.issue("server")
    return authority.file, ["--tls-cert", certificate, "--tls-key", private]


@pytest.fixture
def port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_beyond_loopback_a_node_needs_keys_and_tls(run, bundles, access, tls):
    public = ["serve", bundles / "sum.penstock", "--host", "0.0.0.0"]
    for given, missing in (([], "no keys and no TLS"), (["--access", access], "no TLS"), (tls[1], "no keys")):
        refused = run(*public, *given, code=1).stderr
        assert missing in refused
        assert refused.endswith("[insecure-address]\n")
    node = ["node", "--routes", access, "--host", "0.0.0.0"]
    assert run(*node, code=1).stderr.endswith("[insecure-address]\n")


def test_with_both_it_listens_and_asks(bundles, environ, port, access, tls, key):
    arguments = [bundles / "sum.penstock", "--port", port, "--host", "0.0.0.0", "--access", access, *tls[1]]
    address = f"https://127.0.0.1:{port}"
    with serving(arguments, environ):
        with penstock.Client(address, verify=tls[0], key=key[0]) as client:
            assert client.models() == ["sum"]
        with penstock.Client(address, verify=tls[0], key="") as client:
            assert client.ready()
            with pytest.raises(penstock.Unauthenticated) as refused:
                client.models()
    assert refused.value.code == "missing-key"


def test_half_of_tls_is_none(run, bundles, tls):
    for given in (tls[1][:2], tls[1][2:], ["--tls-client-ca", tls[0]]):
        assert "--tls-key" in run("serve", bundles / "sum.penstock", *given, code=2).stderr


def test_a_certificate_that_is_none_is_named(run, bundles, tls, tmp_path):
    given = ["--tls-cert", tmp_path / "nowhere.pem", *tls[1][2:]]
    for processes in (1, 2):
        refused = run("serve", bundles / "sum.penstock", "--port", 0, "--processes", processes, *given, code=1).stderr
        assert "[invalid-certificate]" in refused
        assert str(tmp_path / "nowhere.pem") in refused


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"keys": {"a": {}}}', '{"keys": {}, "kyes": {}}', '{"keys": {"a b": {"digest": "x", "subject": "y"}}}',
     '{"keys": {"a": {"digest": "pk_a_secret", "subject": "y"}}}', '{"keys": {}, "keys": {}}'],
)  # fmt: skip
def test_an_access_file_that_breaks_a_rule_is_refused(run, bundles, access, text):
    access.write_text(text)
    refused = run("serve", bundles / "sum.penstock", "--access", access, code=1).stderr
    assert refused.rstrip().endswith(("[invalid-routes]", "[invalid-name]"))
