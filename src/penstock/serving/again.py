"""When to try once more what could not be loaded: an artifact store that was away is there again, unannounced."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.core.clock import Clock
from penstock.core.routes import RouteDocument

FIRST_S = 5.0
MOST_S = 300.0


class Again:
    """The document that is served only in part, and when to apply it again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._document: RouteDocument | None = None
        self._failures = 0
        self._due = 0.0

    def note(self, document: RouteDocument, problems: Mapping[str, str]) -> None:
        """What became of a document; another one than before begins anew."""
        if document is not self._document:
            self._failures = 0
        self._failures += 1
        self._document = document if problems else None
        self._due = self._clock() + pause_s(self._failures)

    def due(self) -> RouteDocument | None:
        """The document to apply again now, or None."""
        return self._document if self._clock() >= self._due else None


def pause_s(failures: int) -> float:
    """How long to wait after so many failures: from 5 s, doubling, up to 5 minutes.

    Example:
        >>> [pause_s(failures) for failures in (1, 2, 3, 7, 50)]
        [5.0, 10.0, 20.0, 300.0, 300.0]
    """
    # The exponent is bounded: 2.0 ** 5000 overflows.
    return min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 10))
