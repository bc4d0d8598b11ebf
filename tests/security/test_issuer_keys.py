"""Where the issuer's keys come from: a file, a server; rotation, outage, restart, and a flood of unknown ids."""

import json
import threading

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.security.issuer import NOW, PRIVATE, KeyServer, published

from penstock.core.errors import InvalidInput, Unavailable
from penstock.security.issuer_keys import PAUSE_S, IssuerKeys, fetch_of, parse_keys
from penstock.security.tokens import IssuerSettings


@pytest.fixture
def server():
    running = KeyServer(published("rsa"))
    yield running
    running.close()


def settings(keys, **changes):
    return IssuerSettings(issuer="i", audience="a", keys=str(keys), roles={}, **changes)


def code_of(kind, call, *arguments):
    with pytest.raises(kind) as refused:
        call(*arguments)
    return refused.value.code


def test_keys_from_a_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_bytes(published("rsa", "ec"))
    for where in (path, f"file://{path}"):
        keys = IssuerKeys(settings(where))
        assert keys.find("ec", "ES256", NOW).kid == "ec"
        assert keys.find("ec", "RS256", NOW) is None


def test_known_keys_are_not_fetched_again_before_their_time(server):
    keys = IssuerKeys(settings(server.address, keys_age_s=600))
    for second in range(0, 600, 10):
        assert keys.find("rsa", "RS256", NOW + second)
    assert server.asked == 1
    keys.find("rsa", "RS256", NOW + 600)
    assert server.asked == 2


def test_an_unknown_id_fetches_but_not_again_and_again(server):
    keys = IssuerKeys(settings(server.address))
    assert keys.find("rsa", "RS256", NOW)
    for attempt in range(200):
        assert keys.find(f"guess-{attempt}", "RS256", NOW + 1) is None
    assert server.asked == 1
    # The issuer rotates; what it signs with its new key is good when the pause is over.
    server.data = published("ec")
    assert keys.find("ec", "ES256", NOW + PAUSE_S).kid == "ec"
    assert server.asked == 2
    assert keys.find("rsa", "RS256", NOW + PAUSE_S + 1) is None


def test_an_issuer_that_is_away_changes_nothing_for_known_keys(server):
    keys = IssuerKeys(settings(server.address, keys_age_s=60))
    assert keys.find("rsa", "RS256", NOW)
    for status, data in ((500, b""), (200, b"<html>"), (200, b'{"keys": []}'), (404, published("ec"))):
        server.status, server.data = status, data
        asked = server.asked
        assert keys.find("rsa", "RS256", NOW + 100 * (asked + 1))
        assert server.asked == asked + 1
    # And it is asked again soon after it failed, not only when the keys would have been old again.
    server.status, server.data = 200, published("rsa", "ec")
    assert keys.find("ec", "ES256", NOW + 1e4).kid == "ec"


def test_the_last_good_keys_outlive_a_restart_without_the_issuer(server, tmp_path):
    kept = tmp_path / "keys"
    assert IssuerKeys(settings(server.address), kept).find("rsa", "RS256", NOW)
    server.status = 503
    assert IssuerKeys(settings(server.address), kept).find("rsa", "RS256", NOW)
    kept.write_bytes(b"{damaged")
    for _ in range(2):
        keys = IssuerKeys(settings(server.address), kept)
        assert code_of(Unavailable, keys.find, "rsa", "RS256", NOW) == "issuer-unavailable"


def test_without_any_key_it_says_so_and_asks_again_after_a_pause(server):
    server.status = 503
    keys = IssuerKeys(settings(server.address))
    for second in range(int(PAUSE_S)):
        assert code_of(Unavailable, keys.find, "rsa", "RS256", NOW + second) == "issuer-unavailable"
    assert server.asked == 1
    server.status = 200
    assert keys.find("rsa", "RS256", NOW + PAUSE_S)


def test_a_folder_that_cannot_be_written_does_not_take_the_keys_away(server, tmp_path):
    keys = IssuerKeys(settings(server.address), tmp_path / "nowhere" / "keys")
    assert keys.find("rsa", "RS256", NOW).kid == "rsa"


def test_a_clock_that_goes_back_does_not_stop_it_from_looking(server):
    keys = IssuerKeys(settings(server.address))
    assert keys.find("rsa", "RS256", NOW)
    server.data = published("ec")
    assert keys.find("ec", "ES256", NOW - 1e8).kid == "ec"


def test_nobody_is_there():
    keys = IssuerKeys(settings("http://127.0.0.1:9/keys"))
    assert code_of(Unavailable, keys.find, "rsa", "RS256", NOW) == "issuer-unavailable"
    keys = IssuerKeys(settings("/nowhere/keys.json"))
    assert code_of(Unavailable, keys.find, "rsa", "RS256", NOW) == "issuer-unavailable"


def test_a_redirect_is_not_followed(server):
    server.status, server.location = 302, server.address
    keys = IssuerKeys(settings(server.address))
    assert code_of(Unavailable, keys.find, "rsa", "RS256", NOW) == "issuer-unavailable"
    assert server.asked == 1


def test_plain_http_is_for_loopback_alone():
    for address in ("http://login.example/keys", "http://127.0.0.1.evil/keys", "http://10.0.0.1/keys"):
        assert code_of(InvalidInput, fetch_of, settings(address)) == "invalid-issuer"
    fetch_of(settings("https://login.example/keys"))


def test_too_large_a_set_is_not_read(server):
    server.data = published("rsa") + b" " * (1 << 20)
    assert code_of(InvalidInput, IssuerKeys(settings(server.address)).find, "rsa", "RS256", NOW) == "damaged-keys"


def test_many_threads_that_find_no_keys_fetch_once():
    calls, begun = [], threading.Event()

    def fetch():
        calls.append(1)
        begun.wait(60)
        return published("rsa")

    keys = IssuerKeys(settings("unused"), fetch=fetch)
    found = []
    threads = [threading.Thread(target=lambda: found.append(keys.find("rsa", "RS256", NOW))) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert (len(calls), len(found), None in found) == (1, 8, False)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"\xff", b"[" * 9999,
                                  b'{"keys": []}', b'{"keys": [{}]}', b'{"keys": [{"kty": ["RSA"]}]}'])  # fmt: skip
def test_what_is_no_key_set_is_refused(data):
    assert code_of(InvalidInput, parse_keys, data) == "damaged-keys"


USELESS = [
    *({"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"d": "AQAB"}),
    *({"alg": "HS256"}, {"alg": "none"}, {"alg": ["RS256"]}, {"kty": "oct", "k": "c2VjcmV0"}),
    *({"kid": 7}, {"n": "AQ"}, {"n": "!"}, {"crv": "P-256", "kty": "EC"}),
]


@pytest.mark.parametrize("changes", USELESS)
def test_keys_of_no_use_are_left_out(changes):
    bad = json.loads(published("rsa", **changes))["keys"]
    good = json.loads(published("ec"))["keys"]
    found = parse_keys(json.dumps({"keys": [*bad, *good]}).encode())
    assert [(key.kid, key.algorithm) for key in found] == [("ec", "ES256")]


def test_a_short_rsa_key_is_left_out():
    short = rsa.generate_private_key(65537, 1024).public_key()
    key = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(short)), "kid": "short"}
    assert code_of(InvalidInput, parse_keys, json.dumps({"keys": [key]}).encode()) == "damaged-keys"


def test_a_private_key_that_was_published_is_left_out():
    leaked = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PRIVATE["rsa"]))
    assert "d" in leaked
    # Only the library that wrote it says that it is for signing.
    del leaked["key_ops"]
    assert code_of(InvalidInput, parse_keys, json.dumps({"keys": [leaked]}).encode()) == "damaged-keys"
