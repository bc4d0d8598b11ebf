"""Where a node finds the bundles its routes name: a folder, an archive, S3; and what it does without them."""

import urllib.request

import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from penstock.bundle.bundle import save_bundle
from penstock.core.errors import InvalidInput, NotFound, Refused
from penstock.core.routes import Arm
from penstock.serving.fetch import fetch_bundle
from penstock.storage.locate import open_blobs


@pytest.fixture
def archive(summing_1, tmp_path):
    # A path with what an address could mistake for its own.
    return save_bundle(summing_1, tmp_path / "a b%20?c#d" / "sum.penstock")


@pytest.fixture
def bucket(monkeypatch):
    """The address of an empty bucket on a server of its own."""
    for name, value in (("NO_PROXY", "127.0.0.1"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/models", method="PUT")):
        pass
    yield f"s3://models/deep?endpoint={endpoint}&region=eu-west-1", endpoint
    server.stop()


def arm_of(bundle, uri):
    return Arm(name="main", version="model/1", bundle=bundle.digest, uri=str(uri), weight=10_000)


def test_a_folder_an_archive_and_a_file_address_are_the_same_bundle(summing_1, archive, tmp_path):
    for number, uri in enumerate((summing_1.directory, archive, archive.as_uri(), summing_1.directory.as_uri())):
        assert fetch_bundle(arm_of(summing_1, uri), tmp_path / str(number)).manifest == summing_1.manifest


def test_what_was_fetched_from_s3_is_served_without_it(summing_1, archive, bucket, tmp_path):
    address, endpoint = bucket
    store = open_blobs(address)
    digest = store.put(archive)
    arm = arm_of(summing_1, store.uri(digest))
    bundles = tmp_path / "bundles"
    fetched = fetch_bundle(arm, bundles)
    assert fetched.digest == summing_1.digest
    assert [path.name for path in bundles.iterdir()] == [summing_1.digest.removeprefix("sha256:")]
    S3Store("models", endpoint=endpoint, client_options={"allow_http": True}).delete(
        f"deep/{digest.removeprefix('sha256:')}"
    )
    assert fetch_bundle(arm, bundles) == fetched
    with pytest.raises(NotFound, match="missing-artifact"):
        fetch_bundle(arm, tmp_path / "empty")


def test_another_bundle_than_the_routes_name_is_refused_and_not_kept(summing_1, summing_2, archive, tmp_path):
    with pytest.raises(Refused, match="tampered-bundle"):
        fetch_bundle(arm_of(summing_2, archive), tmp_path / "bundles")
    assert not list((tmp_path / "bundles").iterdir())


def test_a_kept_bundle_that_was_changed_is_not_served(summing_1, archive, tmp_path):
    arm = arm_of(summing_1, archive)
    kept = fetch_bundle(arm, tmp_path)
    kept.path("model.onnx").write_bytes(b"changed")
    with pytest.raises(Refused, match="tampered-bundle"):
        fetch_bundle(arm, tmp_path)


@pytest.mark.parametrize("uri", ["http://models/x", "ftp://x", "data:,x", "pickle:x"])
def test_addresses_of_a_kind_we_do_not_have(summing_1, uri, tmp_path):
    with pytest.raises(InvalidInput, match="unknown-uri"):
        fetch_bundle(arm_of(summing_1, uri), tmp_path)
