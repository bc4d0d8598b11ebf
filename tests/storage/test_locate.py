"""Addresses of stores: what is taken, what is refused, and that no secret travels in them."""

import pytest

from penstock.core.errors import InvalidInput, Refused, Unavailable, Unsupported
from penstock.storage.bucket import open_bucket
from penstock.storage.locate import open_blobs, open_uri
from penstock.storage.s3 import S3

KEY = "0" * 64


@pytest.mark.parametrize("address", ["gs://bucket/x", "http://host/x", "ftp://x"])
def test_stores_we_do_not_have(address):
    with pytest.raises(Unsupported) as caught:
        open_blobs(address)
    assert caught.value.code == "unsupported-artifacts"


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///x", "s3://user:hush@bucket/x", "s3://bucket/x?secret_access_key=hush", "s3://bucket/x#hush"],
)
def test_addresses_that_cannot_be_meant_are_refused_without_repeating_their_secret(address):
    with pytest.raises(InvalidInput) as caught:
        open_blobs(address)
    assert caught.value.code == "invalid-artifacts-url"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://10.0.0.9:9000", "http://minio.local", "http://127.0.0.1.evil.example"])
def test_plain_http_to_another_machine_must_be_asked_for(endpoint):
    for address, environ in ((f"s3://b?endpoint={endpoint}", {}), ("s3://b", {"AWS_ENDPOINT_URL": endpoint})):
        with pytest.raises(Refused) as caught:
            open_bucket(address, environ)
        assert caught.value.code == "insecure-endpoint"
    open_bucket(f"s3://b?endpoint={endpoint}&allow_http=true", {})
    open_bucket("s3://b", {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"})


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://s3.example"]
)
def test_loopback_and_https_need_no_asking(endpoint):
    assert (
        S3(open_bucket(f"s3://b/p?endpoint={endpoint}", {}))
        .uri("sha256:" + KEY)
        .startswith(f"s3://b/p/{KEY}?endpoint=http")
    )


def test_an_unreachable_store_is_reported_within_seconds(tmp_path, s3_endpoint):
    with pytest.raises(Unavailable) as caught:
        open_blobs("s3://b?endpoint=http://127.0.0.1:9").exists("sha256:" + KEY)
    assert caught.value.code == "artifacts-unavailable"


def test_an_address_without_a_digest_is_refused():
    with pytest.raises(InvalidInput):
        open_uri("file:///srv/models/latest")
