"""Leases: what only one control process does at a time, until it is done or dead.

A row in the database that a living process renews every 2 s and that ends 6 s after the last renewal. Time is the
database's where it has one: the clocks of two machines may differ by more than a lease.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, or_, text, update

from penstock.control.schema import leases
from penstock.core.clock import Clock
from penstock.storage.database import Database

LEASE_S = 6.0
CLAIM_S = 3600.0
_INSERT = text(
    "INSERT INTO leases (name, holder, expires_at) VALUES (:name, :holder, :expires_at) ON CONFLICT (name) DO NOTHING"
)


class Leases:
    """The leases of one process, `holder`, whose name no other living process has."""

    def __init__(self, database: Database, holder: str, clock: Clock) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock

    def take(self, name: str, seconds: float = LEASE_S) -> bool:
        """Whether this process has the lease now: it was free, has ended, or was its own."""
        with self._database.write() as connection:
            now = self._now(connection)
            values = {"holder": self._holder, "expires_at": now + seconds}
            free = or_(leases.c.expires_at < now, leases.c.holder == self._holder)
            if connection.execute(update(leases).where(leases.c.name == name, free).values(values)).rowcount:
                return True
            return bool(connection.execute(_INSERT, {"name": name, **values}).rowcount)

    def claim(self, name: str) -> bool:
        """Whether this process is the one to do what happens once, such as one minute of a schedule.

        Who dies over it has had its turn: doing it a second time could be worse than not at all.
        """
        if not self.take(name, CLAIM_S):
            return False
        self.forget_ended()
        return True

    def renew(self, names: Collection[str]) -> None:
        """Go on holding these."""
        if not names:
            return
        with self._database.write() as connection:
            mine = leases.c.holder == self._holder, leases.c.name.in_(names)
            connection.execute(update(leases).where(*mine).values(expires_at=self._now(connection) + LEASE_S))

    def give_back(self, name: str) -> None:
        """It is done: others need not wait for the end of the lease."""
        with self._database.write() as connection:
            connection.execute(delete(leases).where(leases.c.holder == self._holder, leases.c.name == name))

    def forget_ended(self) -> None:
        """Take away those that ended more than a day ago."""
        with self._database.write() as connection:
            connection.execute(delete(leases).where(leases.c.expires_at < self._now(connection) - 86_400))

    def _now(self, connection: Connection) -> float:
        if self._database.dialect == "postgresql":
            return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return self._clock()
