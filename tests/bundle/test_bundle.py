"""Sealing, verifying, saving and opening, with every way in which a bundle may be wrong."""

import os
import subprocess
import sys
import time

import msgspec
import pytest

from penstock.bundle.bundle import open_bundle, save_bundle, seal, verify_directory
from penstock.bundle.diff import diff_bundles
from penstock.bundle.inspect import describe
from penstock.bundle.manifest import (
    FORMAT,
    Artifact,
    Batching,
    Environment,
    Evidence,
    Golden,
    Manifest,
    read_manifest,
)  # fmt: skip
from penstock.core.errors import InvalidInput, NotFound, PenstockError, Refused
from penstock.core.signature import Field, Signature


def _draft(**changes):
    artifact = Artifact(path="served/model.onnx", runtime="onnx", serialization="onnx")
    draft = Manifest(
        format=FORMAT,
        name="m",
        kind="onnx",
        signature=Signature(
            inputs=(Field(name="x", datatype="FP32", shape=(-1, 2)),),
            outputs=(Field(name="y", datatype="FP32", shape=(-1,)),),
            layout="tensors",
        ),
        files={},
        original=artifact,
        served=artifact,
        builtin_operators=True,
        evidence=Evidence(converted=False, reason="given"),
        batching=Batching(allowed=True, reason="proven"),
        golden=Golden(path="golden.bin", rows=1, deterministic=True),
        environment=Environment(python="3.11", platform="linux", requirements="requirements.txt", identity="sha256:0"),
    )
    return msgspec.structs.replace(draft, **changes)


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "served").mkdir(parents=True)
    for name in ("served/model.onnx", "golden.bin", "requirements.txt"):
        (folder / name).write_bytes(name.encode() * 10)
    return seal(folder, _draft())


@pytest.mark.parametrize("out", ["copy", "copy.penstock"])
def test_a_saved_bundle_opens_as_the_same(sealed, out, tmp_path):
    path = save_bundle(sealed, tmp_path / out)
    opened = open_bundle(path, tmp_path / "cache", sealed.digest)
    assert (opened.digest, opened.manifest) == (sealed.digest, sealed.manifest)
    assert sealed.digest.endswith(opened.version[-4:]) or opened.version in sealed.digest


def test_two_archives_of_one_bundle_are_the_same_bytes(sealed, tmp_path):
    one, two = (save_bundle(sealed, tmp_path / name) for name in ("one.penstock", "two.penstock"))
    os.utime(sealed.directory / "golden.bin", (0, 0))
    assert one.read_bytes() == two.read_bytes() == save_bundle(sealed, tmp_path / "three.penstock").read_bytes()


@pytest.mark.parametrize("name", ["served/model.onnx", "golden.bin", "requirements.txt"])
@pytest.mark.parametrize("change", ["flip", "truncate", "append", "empty"])
def test_a_changed_file_is_tampering(sealed, name, change):
    file = sealed.directory / name
    data = file.read_bytes()
    file.write_bytes({"flip": b"\0" + data[1:], "truncate": data[:-1], "append": data + b"x", "empty": b""}[change])
    with pytest.raises(Refused) as refusal:
        verify_directory(sealed.directory)
    assert refusal.value.code == "tampered-bundle"
    assert name in refusal.value.message


def test_a_missing_an_extra_and_a_linked_file(sealed, tmp_path):
    extra = sealed.directory / "served" / "extra.py"
    extra.write_text("import os")
    with pytest.raises(Refused):
        verify_directory(sealed.directory)
    extra.unlink()
    extra.symlink_to("/etc/passwd")
    with pytest.raises(Refused):
        verify_directory(sealed.directory)
    extra.unlink()
    golden = sealed.directory / "golden.bin"
    golden.rename(tmp_path / "golden.bin")
    with pytest.raises(InvalidInput) as failure:
        verify_directory(sealed.directory)
    assert failure.value.code == "damaged-bundle"
    golden.symlink_to(tmp_path / "golden.bin")
    with pytest.raises(InvalidInput):
        verify_directory(sealed.directory)


def test_another_bundle_than_expected(sealed, tmp_path):
    with pytest.raises(Refused) as refusal:
        open_bundle(sealed.directory, tmp_path, "sha256:" + "0" * 64)
    assert refusal.value.code == "tampered-bundle"


def test_a_tampered_archive_leaves_nothing_in_the_cache(sealed, tmp_path):
    path = save_bundle(sealed, tmp_path / "b.penstock")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"golden.bingolden.bin", b"GOLDEN.BINgolden.bin"))
    with pytest.raises(PenstockError):
        open_bundle(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 1, 100, 500, -1, -30])
def test_a_truncated_archive_is_damaged(sealed, cut, tmp_path):
    path = save_bundle(sealed, tmp_path / "b.penstock")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidInput) as failure:
        open_bundle(path, tmp_path / "cache")
    assert failure.value.code == "damaged-bundle"


def test_a_writer_that_is_killed_leaves_no_archive(sealed, tmp_path):
    # A pipe that nobody writes to holds the writer in the middle of the archive, so that it is surely killed there.
    (sealed.directory / "served/model.onnx").unlink()
    os.mkfifo(sealed.directory / "served/model.onnx")
    out = tmp_path / "out" / "m.penstock"
    out.parent.mkdir()
    code = "import sys; from pathlib import Path; from penstock.bundle.archive import write_archive; "
    code += "write_archive(Path(sys.argv[1]), sys.argv[3:], Path(sys.argv[2]))"
    names = ["golden.bin", "served/model.onnx"]
    writer = subprocess.Popen([sys.executable, "-c", code, sealed.directory, out, *names])
    end = time.monotonic() + 30
    while not any(out.parent.iterdir()):
        assert time.monotonic() < end and writer.poll() is None
        time.sleep(0.01)
    writer.kill()
    writer.wait()
    assert not out.exists()


def test_what_is_not_there_or_no_bundle(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(NotFound):
            open_bundle(path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "damaged-bundle"),
        (b"{}", "damaged-bundle"),
        (b"[" * 500_000, "damaged-bundle"),
        (b'{"format":"1"}', "damaged-bundle"),
        (b'{"format":99,"shape":"unknown"}', "newer-format"),
        (_draft(format=0).to_json(), "damaged-bundle"),
    ],
)
def test_manifests_that_cannot_be_read(data, code):
    with pytest.raises(InvalidInput) as failure:
        read_manifest(data)
    assert failure.value.code == code


def test_a_manifest_has_one_spelling():
    data = _draft().to_json()
    assert read_manifest(data) == _draft()
    for other in (data + b"\n", data.replace(b'"name":"m"', b'"name": "m"'), data[:-1] + b',"licence":""}'):
        with pytest.raises(InvalidInput):
            read_manifest(other)
    with pytest.raises(InvalidInput):
        read_manifest(data[:-1] + b',"unknown":1}')


def test_a_difference_is_named_by_its_place(sealed):
    signature = msgspec.structs.replace(
        sealed.manifest.signature, outputs=(Field(name="y", datatype="FP64", shape=(-1,)),)
    )
    other = msgspec.structs.replace(sealed.manifest, signature=signature, licence="MIT")
    assert diff_bundles(sealed.manifest, sealed.manifest) == []
    assert [(change.path, change.a, change.b) for change in diff_bundles(sealed.manifest, other)] == [
        ("licence", None, "MIT"),
        ("signature.outputs[y].datatype", "FP32", "FP64"),
    ]


def test_a_description_names_what_people_ask_for(sealed):
    told = dict(describe(sealed))
    assert told["digest"] == sealed.digest
    assert told["input"] == "x FP32[-1, 2]"
    assert told["batching"] == "allowed: proven"
