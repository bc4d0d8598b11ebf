"""Held-out rows and checks that came from another machine, kept by digest beside the bundles for every control.

In a spec such a file is `sha256:HEX/NAME`. The digest is what it is, the name is what its reader goes by: a suffix, or
`test_` in front. Two files of one name are two files. That one was stored is in the audit log, and nowhere else.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from penstock.control.store import Store
from penstock.core.digest import PREFIX, digest_of_file
from penstock.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from penstock.gates.plan import GatePlan, files_of, with_files
from penstock.registry.versions import GATE_FILE_STORED, is_gate_file
from penstock.security.identity import Identity
from penstock.security.permissions import allow
from penstock.storage.blobs import key_of
from penstock.storage.disk import disk_errors

MOST_BYTES = 2**30
_REFERENCE = re.compile(rf"({PREFIX}[0-9a-f]{{64}})/([A-Za-z0-9_][A-Za-z0-9_.-]{{0,199}})")
_ATTEMPTS = 3


def reference_to(path: Path) -> str:
    """What a spec calls the file, wherever it is read; characters that a name may not have become `_`."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.name)[-200:].lstrip(".-")
    return f"{digest_of_file(path)}/{name or 'file'}"


def split_reference(text: str) -> tuple[str, str] | None:
    """Digest and name; None for a path. Raises InvalidInput (`invalid-digest`) for what only begins like a digest.

    Example:
        >>> split_reference("rows.csv"), split_reference("sha256:" + "0" * 64 + "/rows.csv")[1]
        (None, 'rows.csv')
    """
    if not text.startswith(PREFIX):
        return None
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise InvalidInput("invalid-digest", f"{text[:100]!r} names no file", hint="write sha256:<64 hex>/NAME")
    return found[1], found[2]


def has(store: Store, digest: str) -> bool:
    """Whether the file is there already; raises InvalidInput (`invalid-digest`)."""
    key_of(digest)
    with store.database.read() as connection:
        return is_gate_file(connection, digest) and store.blobs.exists(digest)


def keep(store: Store, identity: Identity, file: Path, digest: str) -> None:
    """Store the bytes of `file`; what is there already stays as it is.

    Raises Forbidden, InvalidInput (`wrong-digest`, `invalid-digest`), TooLarge, and what the blob store raises.
    """
    allow(identity, "check")
    key_of(digest)
    if file.stat().st_size > MOST_BYTES:
        raise TooLarge("body-too-large", f"a file for gates has at most {MOST_BYTES} bytes")
    if digest_of_file(file) != digest:
        raise InvalidInput("wrong-digest", f"the bytes that came are not {digest}", hint="send the file again")
    for _ in range(_ATTEMPTS):
        store.blobs.put(file)
        with store.change(identity) as change:
            # Under the write lock, which the collector of unnamed blobs holds while it deletes.
            if store.blobs.exists(digest):
                if not is_gate_file(change.connection, digest):
                    change.record(GATE_FILE_STORED, digest, None, {"bytes": file.stat().st_size})
                return
    raise Conflict("artifact-vanished", f"{digest} was deleted while it was stored", hint="send the file again")


def check_stored(connection: Connection, gates: GatePlan | None) -> None:
    """Raise NotFound (`unknown-gate-file`) unless every file that is named by its digest is there."""
    for name in files_of(gates) if gates is not None else ():
        reference = split_reference(name)
        if reference is not None and not is_gate_file(connection, reference[0]):
            raise NotFound("unknown-gate-file", f"control has no file {name}", hint="penstock apply --server sends it")


@contextmanager
def fetched(store: Store, gates: GatePlan) -> Iterator[GatePlan]:
    """The plan with its files on this machine while the context lasts, each verified and in a folder of its own.

    Raises what `Blobs.fetch` does.
    """
    with disk_errors(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="penstock-gates-") as folder:

        def here(name: str) -> str:
            reference = split_reference(name)
            if reference is None:
                return name
            place = Path(folder, key_of(reference[0]))
            place.mkdir(exist_ok=True)
            # A copy, no link: what a check does to its file must not reach the store's.
            return str(shutil.copyfile(store.blobs.fetch(reference[0], place), place / reference[1]))

        yield with_files(gates, here)
