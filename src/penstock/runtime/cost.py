"""What a batch costs by its number of rows, learned from the batches that ran: seconds = fixed + rows x slope.

The line is a least-squares fit in which older batches count less and less. A cost per row alone would be wrong by the
size of a batch: a model that takes as long for one row as for 64 would seem 64 times too slow after a single row.
"""

from __future__ import annotations

from math import inf

_KEEP = 0.95


class CostCurve:
    """The fitted line. A first guess from loading is enough to begin with.

    Example:
        >>> curve = CostCurve()
        >>> for rows in (1, 64, 1, 64):
        ...     curve.observe(rows, 0.001 + rows * 0.002)
        >>> round(curve.batch_s(10), 6)
        0.021
    """

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._squares = self._products = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """One batch ran."""
        self._weight = _KEEP * self._weight + 1
        self._rows = _KEEP * self._rows + rows
        self._seconds = _KEEP * self._seconds + seconds
        self._squares = _KEEP * self._squares + rows * rows
        self._products = _KEEP * self._products + rows * seconds

    def batch_s(self, rows: float) -> float:
        """Seconds that a batch of so many rows takes; 0 before anything was observed."""
        fixed, slope = self._line()
        return fixed + slope * rows

    def rows_within(self, seconds: float) -> float:
        """How many rows a batch may have to be over within `seconds`; at least one, or nothing would ever run."""
        fixed, slope = self._line()
        return max(1.0, (seconds - fixed) / slope) if slope > 0 else inf

    def _line(self) -> tuple[float, float]:
        if not self._weight:
            return 0.0, 0.0
        spread = self._weight * self._squares - self._rows**2
        # All batches of one size tell nothing about a fixed part: then the cost is taken as proportional.
        if spread <= 1e-9 * self._squares * self._weight:
            return 0.0, self._seconds / self._rows
        slope = (self._weight * self._products - self._rows * self._seconds) / spread
        # Noise can tilt the line so that more rows cost less, or none cost less than nothing: neither is so.
        slope = min(max(slope, 0.0), self._seconds / self._rows)
        return (self._seconds - slope * self._rows) / self._weight, slope

    def queue_s(self, rows: int, max_rows: int) -> float:
        """Seconds that so many waiting rows take, in batches of at most `max_rows`, one after the other."""
        whole, rest = divmod(rows, max_rows)
        return whole * self.batch_s(max_rows) + (self.batch_s(rest) if rest else 0.0)
