"""What a version's folder holds, and the bundle that is made of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from penstock.bundle.bundle import SUFFIX, Bundle, open_bundle, save_bundle, verify_directory
from penstock.bundle.manifest import MANIFEST
from penstock.core.digest import digest_of
from penstock.core.errors import InvalidInput, Unsupported

ONNX = "model.onnx"
SAVED_MODEL = "saved_model.pb"


def stamp_of(folder: Path) -> str:
    """What changes when a file in the folder does: the digest of all names, sizes and times. Raises OSError."""
    entries: list[tuple[str, int, int]] = []
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(place, name)
            # Of a link that leads nowhere, too: what is wrong with it is found when the version is opened.
            stat = path.lstat()
            entries.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return digest_of(msgspec.json.encode(sorted(entries)))


def _raise(error: OSError) -> None:
    raise error


def bundle_of(folder: Path, name: str, bundles: Path) -> Bundle:
    """The bundle of what `folder` holds, kept in `bundles`; packed first if it is a model of another kind.

    Kept, because the folder may go while the version still answers. Raises PenstockError, OSError.
    """
    bundles.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / MANIFEST).is_file():
        return _kept(verify_directory(folder), bundles)
    archives = sorted(folder.glob(f"*{SUFFIX}"))
    if len(archives) == 1:
        return open_bundle(archives[0], bundles)
    if (folder / ONNX).is_file():
        return _packed(folder / ONNX, name, bundles)
    if (folder / SAVED_MODEL).is_file():
        return _packed(folder, name, bundles)
    raise InvalidInput(
        "unknown-version-folder",
        f"{folder} holds {len(archives) or 'no'} bundles, and no {ONNX} or {SAVED_MODEL}",
        hint=f"put one bundle (its files, or a {SUFFIX} file) or one of these there",
    )


def _kept(bundle: Bundle, bundles: Path) -> Bundle:
    final = bundles / bundle.digest.removeprefix("sha256:")
    if not final.is_dir():
        try:
            save_bundle(bundle, final)
        except OSError:
            # Another process kept the same bundle first.
            if not final.is_dir():
                raise
    return verify_directory(final, bundle.digest)


def _packed(model: Path, name: str, bundles: Path) -> Bundle:
    try:
        # Only where something has to be packed: a node of bundles needs none of it.
        from penstock.pack import pack_file
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"packing {model.name} needs {error.name}", hint="pip install 'penstock[pack]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=bundles) as scratch:
        packed = pack_file(model, name=name, out=Path(scratch) / f"{name}{SUFFIX}")
        return open_bundle(packed.path, bundles)
