"""Contexts from files: each file that cannot be used is named, and nothing asks for a password."""

import ssl

import pytest
from tests.serving.certificates import Authority

from penstock.core.errors import InvalidInput
from penstock.security.tls import TlsSettings, mark_of, server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server")[1:]


def test_a_context_speaks_modern_tls_and_asks_nobody(pair):
    context = server_context(TlsSettings(certificate=pair[0], key=pair[1]))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert context.options & ssl.OP_NO_RENEGOTIATION
    newest = server_context(TlsSettings(certificate=pair[0], key=pair[1], minimum="1.3"))
    assert newest.minimum_version == ssl.TLSVersion.TLSv1_3


def test_mutual_tls_requires_a_certificate(pair, authority):
    context = server_context(TlsSettings(certificate=pair[0], key=pair[1], client_ca=authority.file))
    assert context.verify_mode == ssl.CERT_REQUIRED


def refused(**files):
    with pytest.raises(InvalidInput) as error:
        server_context(TlsSettings(**files))
    assert error.value.code == "invalid-certificate"
    return str(error.value)


def test_a_file_that_cannot_be_used_is_named(pair, authority, tmp_path):
    certificate, key = pair
    nowhere, garbage, empty = tmp_path / "nowhere.pem", tmp_path / "garbage.pem", tmp_path / "empty.pem"
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty.write_bytes(b"")
    for bad in (nowhere, garbage, empty, tmp_path):
        assert str(bad) in refused(certificate=bad, key=key)
        assert str(bad) in refused(certificate=certificate, key=bad)
        assert str(bad) in refused(certificate=certificate, key=key, client_ca=bad)


def test_a_key_of_another_certificate_is_refused(pair, authority):
    _, _, other_key = authority.issue("other")
    assert str(other_key) in refused(certificate=pair[0], key=other_key)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(authority):
    _, certificate, key = authority.issue("secret", password=b"hush")
    assert str(key) in refused(certificate=certificate, key=key)


def test_the_mark_changes_when_a_file_is_replaced_also_behind_a_link(authority, tmp_path):
    _, certificate, key = authority.issue("marked")
    link = tmp_path / "link.pem"
    link.symlink_to(certificate)
    settings = TlsSettings(certificate=link, key=key)
    before = mark_of(settings)
    assert mark_of(settings) == before
    authority.issue("marked")
    after = mark_of(settings)
    assert after != before
    link.unlink()
    assert mark_of(settings) not in (before, after)
