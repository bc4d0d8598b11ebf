"""Archives made to reach outside their folder, to fill the disk, or to be read in two ways: nothing is extracted."""

import contextlib
import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from penstock.bundle import archive
from penstock.bundle.archive import MAX_FILES, extract_archive
from penstock.bundle.bundle import open_bundle
from penstock.core.errors import InvalidInput, PenstockError, Refused


def _archive(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def _info(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


UNSAFE_NAMES = [
    "/etc/cron.d/evil",
    "../evil",
    "served/../../evil",
    "./manifest.json",
    "served//model.onnx",
    "C:\\evil",
    "..\\evil",
    "served/mo\ndel",
    "served/model\u202exnno.",
    ".hidden/evil",
    "-rf",
    " ",
    "~root/.ssh/id" + "x" * 300,
    "a/" * 20 + "b",
]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_names_that_are_no_plain_relative_path(name, tmp_path):
    file = _archive(tmp_path / "b.penstock", [(name, b"x")])
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Refused) as refusal:
        extract_archive(file, into)
    assert refusal.value.code == "unsafe-archive"
    assert list(into.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.penstock", "into"]


def test_a_nul_byte_does_not_hide_the_rest_of_a_name(tmp_path):
    file = _archive(tmp_path / "b.penstock", [("manifest.jsonX../../evil", b"x")])
    file.write_bytes(file.read_bytes().replace(b"manifest.jsonX", b"manifest.json\0"))
    with pytest.raises(PenstockError) as refusal:
        extract_archive(file, tmp_path / "into")
    assert refusal.value.code in ("unsafe-archive", "damaged-bundle")


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFBLK | 0o666, stat.S_IFIFO | 0o666, stat.S_IFSOCK]
)
def test_links_and_devices(mode, tmp_path):
    file = _archive(tmp_path / "b.penstock", [(_info("served", mode), "/etc"), ("served/passwd", b"x")])
    with pytest.raises(Refused):
        extract_archive(file, tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("model.onnx", "MODEL.ONNX")])
def test_duplicates_also_where_case_does_not_count(names, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate") if names[0] == names[1] else contextlib.nullcontext():
        file = _archive(tmp_path / "b.penstock", [(name, b"x") for name in names])
    with pytest.raises(Refused):
        extract_archive(file, tmp_path / "into")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused_before_a_byte_is_inflated(method, tmp_path):
    file = _archive(tmp_path / "b.penstock", [("a", b"\0" * 10_000_000)], compression=method)
    with pytest.raises(Refused) as refusal:
        extract_archive(file, tmp_path / "into")
    assert refusal.value.code == "unsafe-archive"


def test_a_member_that_claims_more_than_the_archive_holds(tmp_path):
    file = _archive(tmp_path / "b.penstock", [("a", b"x" * 100)])
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, at + 20, 2**31, 2**31)
    file.write_bytes(data)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(PenstockError) as refusal:
        extract_archive(file, into)
    assert refusal.value.code in ("damaged-bundle", "unsafe-archive")
    assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) <= 1 << 20


def test_too_many_members(tmp_path):
    file = _archive(tmp_path / "b.penstock", [(f"f{number}", b"") for number in range(MAX_FILES + 1)])
    with pytest.raises(Refused):
        extract_archive(file, tmp_path / "into")


def test_more_bytes_than_a_bundle_may_have(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    extract_archive(_archive(tmp_path / "a.penstock", [("a", b"x" * 10)]), tmp_path / "whole")
    with pytest.raises(Refused, match="unsafe-archive"):
        extract_archive(_archive(tmp_path / "b.penstock", [("a", b"x" * 6), ("b", b"x" * 5)]), tmp_path / "into")


def test_overlapping_members_of_a_quoted_bomb(tmp_path):
    """Many names for one body: small on disk, huge when extracted."""
    file = _archive(tmp_path / "b.penstock", [("a", b"x" * 1000), ("b", b"x" * 1000)])
    data = bytearray(file.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    # The second entry of the directory points at the first member's header.
    struct.pack_into("<I", data, second + 42, 0)
    file.write_bytes(data)
    with pytest.raises(PenstockError) as refusal:
        extract_archive(file, tmp_path / "into")
    assert refusal.value.code in ("damaged-bundle", "unsafe-archive")


@pytest.mark.parametrize("kind", ["tar", "gzip", "empty", "text", "truncated"])
def test_what_is_no_archive_of_ours(kind, tmp_path):
    file = tmp_path / "b.penstock"
    if kind == "tar":
        with tarfile.open(file, "w") as archive:
            archive.addfile(tarfile.TarInfo("../evil"), io.BytesIO(b""))
    elif kind == "gzip":
        file.write_bytes(gzip.compress(b"x" * 1000))
    elif kind == "truncated":
        _archive(file, [("manifest.json", b"x" * 1000)])
        os.truncate(file, 500)
    else:
        file.write_bytes(b"" if kind == "empty" else b"not a bundle")
    with pytest.raises(InvalidInput) as failure:
        open_bundle(file, tmp_path / "cache")
    assert failure.value.code == "damaged-bundle"
    assert list((tmp_path / "cache").iterdir()) == []
