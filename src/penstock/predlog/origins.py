"""Which endpoints answered a request: asked before somebody who is confined to some may say what became of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from penstock.predlog.table_engine import engine_errors
from penstock.predlog.table_views import open_places, open_views


class Origins:
    """Looks requests up in the log of a home, one question at a time: each may take the memory of a query."""

    def __init__(self, home: Path, address: str = "") -> None:
        self._home = home
        self._address = address
        self._alone = threading.Lock()

    def of(self, request_ids: Iterable[str]) -> dict[str, set[str]]:
        """The endpoints by request id; an id that is not in the log is not in the answer.

        Raises what `open_views` raises.
        """
        wanted = sorted(set(request_ids))
        found: dict[str, set[str]] = {}
        with (
            self._alone,
            open_views(open_places(self._home, self._address)) as views,
            engine_errors("looking requests up"),
        ):
            query = "SELECT DISTINCT request_id, endpoint FROM predictions WHERE request_id IN (SELECT unnest(?))"
            for request_id, endpoint in views.engine.execute(query, [wanted]).fetchall():
                found.setdefault(request_id, set()).add(endpoint)
        return found
