"""Every adapter of the port `Blobs`, each with a way to damage a stored blob behind its back."""

import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from penstock.storage.blobs import Blobs, key_of
from penstock.storage.locate import open_blobs


class Store(NamedTuple):
    blobs: Blobs
    address: str
    overwrite: Callable[[str, bytes], None]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        # A proxy set on the machine must not carry loopback traffic away.
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret/with+odd=letters")
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3", "s3-without-prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        # A path with every character that an address could mistake for its own.
        root = tmp_path / "a b%20?c#d&é"

        def overwrite_file(digest: str, data: bytes) -> None:
            (root / key_of(digest)).write_bytes(data)

        return Store(open_blobs(root), str(root), overwrite_file)
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"b{os.urandom(6).hex()}"
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")) as answer:
        assert answer.status == 200
    place = f"{bucket}/deep/prefix" if request.param == "s3" else bucket
    address = f"s3://{place}?endpoint={endpoint}&region=eu-west-1"
    raw = S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True})
    prefix = place.removeprefix(bucket).lstrip("/")

    def overwrite(digest: str, data: bytes) -> None:
        raw.put(f"{prefix}/{key_of(digest)}", data)

    return Store(open_blobs(address), address, overwrite)
