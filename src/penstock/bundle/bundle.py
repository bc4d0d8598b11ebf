"""Opening and sealing bundles. Every file's digest is checked here before anybody opens the file."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from penstock.bundle.archive import check_member_name, extract_archive, write_archive
from penstock.bundle.manifest import MANIFEST, MEASUREMENTS, FileEntry, Manifest, read_manifest
from penstock.core.digest import digest_of_file, short
from penstock.core.errors import InvalidInput, NotFound, Refused

SUFFIX = ".penstock"


class Bundle(msgspec.Struct, frozen=True):
    """A verified bundle on disk: its folder, its manifest and its digest."""

    directory: Path
    manifest: Manifest
    digest: str

    @property
    def version(self) -> str:
        """The version it has when served without a registry."""
        return short(self.digest)

    def path(self, name: str) -> Path:
        """The path of one of the manifest's files."""
        if name not in self.manifest.files:
            raise InvalidInput("damaged-bundle", f"the manifest names {name!r}, which is not among its files")
        return self.directory / name


def seal(directory: Path, draft: Manifest) -> Bundle:
    """Write the manifest that covers every file now in `directory`; the result is immutable from here on."""
    files = {
        str(path.relative_to(directory)): FileEntry(digest_of_file(path), path.stat().st_size)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and str(path.relative_to(directory)) not in (MANIFEST, MEASUREMENTS)
    }
    for name in files:
        check_member_name(name)
    manifest = msgspec.structs.replace(draft, files=files)
    (directory / MANIFEST).write_bytes(manifest.to_json())
    return Bundle(directory, manifest, manifest.digest())


def verify_directory(directory: Path, expected: str = "") -> Bundle:
    """Check a bundle's folder: the manifest's digest when `expected` is given, then every file's size and digest.

    Raises NotFound, InvalidInput (damaged) or Refused (tampered).
    """
    try:
        manifest = read_manifest((directory / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("unknown-bundle", f"{directory} is not a bundle: it has no {MANIFEST}") from None
    digest = manifest.digest()
    if expected and digest != expected:
        raise Refused("tampered-bundle", f"the bundle in {directory} is {digest}, expected {expected}")
    for name, entry in manifest.files.items():
        path = directory / check_member_name(name)
        if path.is_symlink() or not path.is_file():
            raise InvalidInput(
                "damaged-bundle", f"{name} is missing from the bundle in {directory}", hint="copy or pack it again"
            )
        # Size first: a truncated 10 GB file is found without reading it.
        if path.stat().st_size != entry.size or digest_of_file(path) != entry.sha256:
            raise Refused(
                "tampered-bundle",
                f"{name} in {directory} is not the file that was packed",
                hint="copy or pack it again",
            )
    known = {*manifest.files, MANIFEST, MEASUREMENTS}
    for path in directory.rglob("*"):
        # A file nobody vouches for must not lie where a model's code could import it.
        if path.is_symlink() or (path.is_file() and str(path.relative_to(directory)) not in known):
            raise Refused("tampered-bundle", f"{path.relative_to(directory)} in {directory} is not in the manifest")
    return Bundle(directory, manifest, digest)


def open_bundle(path: Path, cache: Path, expected: str = "") -> Bundle:
    """Open and verify a bundle: a folder where it lies, an archive after extraction into `cache`.

    An archive is extracted beside its final place and renamed, so that a killed process leaves nothing half done.
    """
    if path.is_dir():
        return verify_directory(path, expected)
    if not path.is_file():
        raise NotFound("unknown-bundle", f"there is no bundle at {path}")
    if expected and (known := cache / expected.removeprefix("sha256:")).is_dir():
        return verify_directory(known, expected)
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(prefix=".extract-", dir=cache))
    try:
        extract_archive(path, scratch)
        bundle = verify_directory(scratch, expected)
        final = cache / bundle.digest.removeprefix("sha256:")
        try:
            os.rename(scratch, final)
        except OSError:
            # Another process extracted the same bundle first; the name is its digest, so theirs serves as well.
            if not final.is_dir():
                raise
        return verify_directory(final, bundle.digest)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save_bundle(bundle: Bundle, out: Path) -> Path:
    """Write the bundle to `out`: one file when it ends in `.penstock`, else a folder that must not exist yet."""
    names = [MANIFEST, *bundle.manifest.files]
    if (bundle.directory / MEASUREMENTS).is_file():
        names.append(MEASUREMENTS)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == SUFFIX:
        write_archive(bundle.directory, names, out)
        return out
    scratch = Path(tempfile.mkdtemp(prefix=".bundle-", dir=out.parent))
    try:
        for name in names:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.directory / name, scratch / name)
        os.rename(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out
