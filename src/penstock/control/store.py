"""What every use case works on: the database, the bundles, the home and the clock, as one value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from penstock.core.clock import Clock, timestamp
from penstock.registry.audit import Change
from penstock.registry.registry import Registry
from penstock.registry.texts import check_text
from penstock.security.identity import Identity
from penstock.storage.blobs import Blobs
from penstock.storage.database import Database


class Store(msgspec.Struct, frozen=True):
    """Where control keeps what it knows."""

    database: Database
    blobs: Blobs
    home: Path
    clock: Clock

    @property
    def now(self) -> str:
        """The moment, RFC 3339."""
        return timestamp(self.clock())

    @contextmanager
    def change(self, identity: Identity, reason: str = "") -> Iterator[Change]:
        """One transaction that changes something and records it; it holds the only write lock until it ends."""
        check_text(reason, "reason")
        with self.database.write() as connection:
            yield Change(connection, actor=identity.subject, time=self.now, reason=reason)

    def registry(self, identity: Identity) -> Registry:
        """The registry, whose changes are recorded as this identity's. Closing it closes the store's database."""
        return Registry(self.database, self.blobs, actor=identity.subject, clock=self.clock)
