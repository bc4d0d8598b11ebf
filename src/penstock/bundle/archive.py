"""A bundle as one `.penstock` file: a ZIP that stores, never compresses, and holds nothing but plain files.

Stored members cannot be a decompression bomb, can be measured before they are read, and make the same bundle the same
bytes everywhere (compressors differ). Everything else a ZIP can express is refused.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from pathlib import Path

from penstock.core.errors import InvalidInput, Refused

MAX_FILES = 10_000
MAX_BYTES = 64 * 2**30
_SAFE_PART = re.compile(r"[A-Za-z0-9_+=,@~][A-Za-z0-9._+=,@~ -]{0,199}")


def check_member_name(name: str) -> str:
    """Return `name` if it is a plain relative path inside a bundle; raise Refused otherwise."""
    parts = name.split("/")
    if not all(_SAFE_PART.fullmatch(part) for part in parts) or len(parts) > 16:
        raise Refused(
            "unsafe-archive", f"the bundle has a file named {name[:120]!r}", hint="only plain relative paths are taken"
        )
    return name


def write_archive(directory: Path, names: list[str], out: Path) -> None:
    """Write the named files of `directory` to one archive, atomically: `out` exists whole or not at all."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(names):
                # A fixed date and mode: the archive of one bundle has the same bytes wherever it is made.
                info = zipfile.ZipInfo(check_member_name(name), date_time=(1980, 1, 1, 0, 0, 0))
                info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                with (directory / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    while piece := source.read(1 << 20):
                        target.write(piece)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def extract_archive(file: Path, into: Path) -> None:
    """Extract into the empty folder `into`, refusing whatever could reach outside it or fill the disk."""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in _checked(archive):
                target = into / info.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as out:
                    while piece := source.read(1 << 20):
                        out.write(piece)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(
            "damaged-bundle", f"{file.name} is not a whole bundle: {error}", hint="copy or pack it again"
        ) from None


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MAX_FILES or sum(info.file_size for info in members) > MAX_BYTES:
        raise Refused("unsafe-archive", f"the archive holds {len(members)} files or more than {MAX_BYTES} bytes")
    seen: set[str] = set()
    for info in members:
        # orig_filename: zipfile cuts a name at a NUL byte and would hide what follows.
        check_member_name(info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.filename.casefold() in seen:
            raise Refused("unsafe-archive", f"the archive holds {info.filename!r} twice")
        if kind not in (0, stat.S_IFREG) or info.is_dir():
            raise Refused("unsafe-archive", f"{info.filename!r} in the archive is not a plain file")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise Refused(
                "unsafe-archive",
                f"{info.filename!r} in the archive is compressed",
                hint="bundles are stored uncompressed",
            )
        seen.add(info.filename.casefold())
    return members
