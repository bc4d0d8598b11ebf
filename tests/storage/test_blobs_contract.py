"""What every adapter of the port `Blobs` promises; none is exempt from any test."""

import os
import threading

import pytest

from penstock.core.digest import digest_of
from penstock.core.errors import InvalidInput, NotFound, Refused
from penstock.storage.locate import open_blobs, open_uri

ABSENT = digest_of(b"never stored")


@pytest.fixture
def source(tmp_path):
    def write(data):
        path = tmp_path / "source"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("data", [b"", b"\0one\xff", os.urandom(12 * 2**20)], ids=["empty", "small", "12 MiB"])
def test_what_was_put_is_fetched_byte_for_byte(store, source, tmp_path, data):
    digest = store.blobs.put(source(data))
    assert digest == digest_of(data)
    assert store.blobs.exists(digest)
    assert store.blobs.fetch(digest, tmp_path / "into").read_bytes() == data


def test_every_verb_may_be_repeated(store, source, tmp_path):
    first, second = (store.blobs.put(source(b"same")) for _ in range(2))
    assert first == second
    paths = [store.blobs.fetch(first, tmp_path / "into") for _ in range(2)]
    assert [path.read_bytes() for path in paths] == [b"same"] * 2
    assert [store.blobs.collect(frozenset(), delete=delete) for delete in (False, True, True)] == [1, 1, 0]


def test_a_blob_outlives_its_source_and_the_object_that_put_it(store, source, tmp_path):
    path = source(b"kept")
    digest = store.blobs.put(path)
    path.unlink()
    assert open_blobs(store.address).fetch(digest, tmp_path / "into").read_bytes() == b"kept"


def test_an_absent_blob_is_reported_as_missing(store, tmp_path):
    assert not store.blobs.exists(ABSENT)
    with pytest.raises(NotFound) as caught:
        store.blobs.fetch(ABSENT, tmp_path / "into")
    assert caught.value.code == "missing-artifact"


@pytest.mark.parametrize("damage", [b"SAME", b"sam", b""], ids=["changed", "cut short", "emptied"])
def test_damaged_bytes_are_never_handed_out_and_leave_nothing_behind(store, source, tmp_path, damage):
    digest = store.blobs.put(source(b"same"))
    store.overwrite(digest, damage)
    into = tmp_path / "into"
    with pytest.raises(Refused) as caught:
        store.blobs.fetch(digest, into)
    assert caught.value.code == "tampered-artifact"
    assert not into.exists() or not list(into.iterdir())


def test_putting_again_repairs_a_blob_that_was_cut_short(store, source, tmp_path):
    digest = store.blobs.put(source(b"whole"))
    store.overwrite(digest, b"who")
    store.blobs.put(source(b"whole"))
    assert store.blobs.fetch(digest, tmp_path / "into").read_bytes() == b"whole"


def test_collect_deletes_all_but_the_kept(store, source):
    kept, *others = [store.blobs.put(source(data)) for data in (b"1", b"2", b"3")]
    assert store.blobs.collect({kept, ABSENT}, delete=True) == 2
    assert store.blobs.exists(kept)
    assert not any(store.blobs.exists(digest) for digest in others)


def test_an_address_leads_back_to_the_blob(store, source, tmp_path):
    digest = store.blobs.put(source(b"found"))
    uri = store.blobs.uri(digest)
    blobs, found = open_uri(uri)
    assert found == digest
    assert blobs.fetch(found, tmp_path / "into").read_bytes() == b"found"
    assert "secret" not in uri


def test_many_writers_of_one_blob_do_not_disturb_each_other(store, tmp_path):
    data = os.urandom(1 << 20)
    (tmp_path / "source").write_bytes(data)
    digests = []
    threads = [threading.Thread(target=lambda: digests.append(store.blobs.put(tmp_path / "source"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [digest_of(data)] * 8
    assert store.blobs.fetch(digests[0], tmp_path / "into").read_bytes() == data


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "G" * 64, "0" * 64, "md5:1"])
def test_what_is_not_a_digest_never_becomes_a_path(store, tmp_path, digest):
    for verb in (store.blobs.exists, store.blobs.uri, lambda value: store.blobs.fetch(value, tmp_path)):
        with pytest.raises(InvalidInput) as caught:
            verb(digest)
        assert caught.value.code == "invalid-digest"
