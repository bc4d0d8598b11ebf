"""Keys and certificates of a client: where they come from, where they go, what is refused before anything is sent."""

import asyncio

import httpx
import pytest
from tests.sdk.misbehaving import GOOD
from tests.serving.certificates import Authority

import penstock
from penstock.sdk.security import Security, headers_of, security_of, tls_of

KEY = "pk_1f2e_" + 43 * "A"


def test_the_key_is_the_argument_else_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("PENSTOCK_KEY", f"{KEY}\n")
    assert headers_of(security_of(None, True, None, own=True)) == {"authorization": f"Bearer {KEY}"}
    assert headers_of(security_of("pk_other", True, None, own=True)) == {"authorization": "Bearer pk_other"}
    assert headers_of(security_of("", True, None, own=True)) == {}
    monkeypatch.delenv("PENSTOCK_KEY")
    assert headers_of(security_of(None, True, None, own=True)) == {}


@pytest.mark.parametrize("key", ["pk_a\r\nx-evil: 1", "pk_\xe9", "pk a", "pk_\x00"])
def test_a_key_that_would_break_a_header_is_refused(key):
    with pytest.raises(penstock.InvalidInput) as refused:
        penstock.Client("http://127.0.0.1:9", key=key)
    assert refused.value.code == "invalid-option"
    assert key not in str(refused.value)


@pytest.mark.parametrize("given", [{"key": KEY}, {"verify": False}, {"cert": "a.pem"}])
def test_a_client_that_is_handed_in_has_its_own(given):
    with httpx.Client() as own, pytest.raises(penstock.InvalidInput) as refused:
        penstock.Client("http://127.0.0.1:9", http=own, **given)
    assert refused.value.code == "invalid-option"


def test_the_key_is_sent_with_every_request(server):
    with penstock.Client(server.plays(GOOD, GOOD), key=KEY) as client:
        client.predict("m", [{"a": 1}])

    async def ask():
        async with penstock.AsyncClient(server.url, key=KEY) as client:
            await client.predict("m", [{"a": 1}])

    asyncio.run(ask())
    assert [headers.get("authorization") for _, headers, _ in server.requests] == [f"Bearer {KEY}"] * 2


def test_the_key_is_not_shown():
    assert KEY not in repr(Security(KEY)) + repr(penstock.Client("http://127.0.0.1:9", key=KEY))


def test_files_that_cannot_be_used_are_named(tmp_path):
    authority = Authority(tmp_path)
    _, certificate, key = authority.issue("client")
    _, secret, secret_key = authority.issue("secret", password=b"hush")
    tls_of(Security(verify=authority.file, cert=(certificate, key)))
    nowhere = tmp_path / "nowhere.pem"
    for security in (
        Security(verify=nowhere),
        Security(verify=authority.file, cert=nowhere),
        Security(verify=authority.file, cert=(certificate, nowhere)),
        Security(verify=authority.file, cert=(secret, secret_key)),
    ):
        with pytest.raises(penstock.InvalidInput) as refused:
            tls_of(security)
        assert refused.value.code == "invalid-certificate"
        assert str(nowhere) in str(refused.value) or str(secret_key) in str(refused.value)
