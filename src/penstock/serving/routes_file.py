"""Following a route document in a file, and keeping the last good one where a restart finds it."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.core.errors import Conflict, PenstockError
from penstock.core.routes import RouteDocument, read_routes


class RoutesFile:
    """Tells when the document has changed. Writers replace the file by rename; a half-written one is just refused."""

    def __init__(self, path: Path, last_good: Path) -> None:
        self._path = path
        self._last_good = last_good
        self._seen: tuple[int, int, int] | None = None
        self._generation = -1

    def poll(self) -> RouteDocument | None:
        """The document if the file changed since the last call and is good; raises PenstockError if it is not.

        Raises Conflict("older-generation") for a document older than one that was read or kept: an old file that
        comes back, from a backup or a slow writer, must not undo what was decided since.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if mark == self._seen:
            return None
        self._seen = mark
        document = read_routes(self._path.read_bytes())
        if document.generation < self._generation:
            raise Conflict(
                "older-generation",
                f"the routes have generation {document.generation}, {self._generation} was served before",
                hint=f"publish a greater generation, or stop the node and remove {self._last_good}",
            )
        self._generation = document.generation
        return document

    def keep(self, document_bytes: bytes) -> None:
        """Remember a document that was applied whole."""
        self._last_good.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._last_good.with_name(f"{self._last_good.name}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            file.write(document_bytes)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._last_good)

    def kept(self) -> RouteDocument | None:
        """The last good document, if there is one that can be read; nothing older is taken from then on."""
        try:
            document = read_routes(self._last_good.read_bytes())
        except (OSError, PenstockError):
            return None
        self._generation = max(self._generation, document.generation)
        return document
