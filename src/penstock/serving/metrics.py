"""The Prometheus page: every process's cells, summed, in the text format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from penstock.serving import board
from penstock.serving.board import Boards, Labels

CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
_NAMES = ("endpoint", "arm", "version")


def page(boards: Boards) -> bytes:
    """The body of `GET /metrics`, for the whole node."""
    registry = CollectorRegistry()
    registry.register(_Collector(boards))
    body: bytes = generate_latest(registry)
    return body


class _Collector:
    def __init__(self, boards: Boards) -> None:
        self._boards = boards

    def collect(self) -> Iterable[Metric]:
        everything = sorted(self._boards.totals().items())
        totals = [entry for entry in everything if not entry[0].shadow]
        yield self._requests(totals)
        yield _histogram(
            totals, "penstock_request_duration_seconds", "From the last byte of a request to its answer.",
            board.LATENCY, board.LATENCY_BUCKETS_S, board.LATENCY_SUM_US, 1e-6,
        )  # fmt: skip
        yield _histogram(
            totals, "penstock_batch_rows", "Rows that shared one run of the model.",
            board.BATCHES, board.BATCH_BUCKETS_ROWS, board.BATCH_ROWS_SUM, 1,
        )  # fmt: skip
        for name, text, cell in (
            ("penstock_rows", "Rows answered.", board.ROWS),
            ("penstock_cache_hits", "Calls answered from the cache.", board.CACHE_HITS),
            ("penstock_cache_misses", "Calls not found in the cache.", board.CACHE_MISSES),
            ("penstock_worker_restarts", "Model processes started again.", board.WORKER_RESTARTS),
        ):
            counter = CounterMetricFamily(name, text, labels=_NAMES)
            for labels, cells in totals:
                counter.add_metric(_values(labels), cells[cell])
            yield counter
        for name, text, cell, scale in (
            ("penstock_waiting_rows", "Rows that wait for the model.", board.WAITING_ROWS, 1.0),
            ("penstock_running_rows", "Rows in the model now.", board.RUNNING_ROWS, 1.0),
            ("penstock_load_seconds", "How long loading took, all processes together.", board.LOAD_US, 1e-6),
        ):
            gauge = GaugeMetricFamily(name, text, labels=_NAMES)
            for labels, cells in totals:
                gauge.add_metric(_values(labels), cells[cell] * scale)
            yield gauge
        yield from _shadows([entry for entry in everything if entry[0].shadow])
        yield from self._process()

    def _requests(self, totals: list[tuple[Labels, list[int]]]) -> Metric:
        counter = CounterMetricFamily("penstock_requests", "Requests answered, by status.", labels=[*_NAMES, "code"])
        codes = [*map(str, board.STATUSES), "other"]
        for labels, cells in totals:
            for code, count in zip(codes, cells[board.REQUESTS :], strict=False):
                if count:
                    counter.add_metric([*_values(labels), code], count)
        return counter

    def _process(self) -> Iterable[Metric]:
        boards = self._boards
        for name, text, cell in (
            ("penstock_accepted", "Requests read whole by the node.", board.ACCEPTED),
            ("penstock_answered", "Requests whose answer was handed to the socket.", board.ANSWERED),
            ("penstock_log_lines_dropped", "Log lines lost because nobody read them.", board.LOGS_DROPPED),
            ("penstock_predictions_recorded", "Records written to the prediction log.", board.RECORDED),
            ("penstock_predictions_recorded_bytes", "Bytes written to the prediction log.", board.RECORDED_BYTES),
            ("penstock_predictions_dropped", "Records lost for want of room on disk or memory.", board.RECORDS_DROPPED),
        ):
            yield CounterMetricFamily(name, text, value=boards.process_total(cell))
        each = boards.each()
        yield GaugeMetricFamily("penstock_processes", "Event loops of this node.", value=len(each))
        generation = min((cells[board.GENERATION] for cells in each), default=0)
        yield GaugeMetricFamily(
            "penstock_generation", "Generation of the routes that every process obeys.", value=generation
        )


def _shadows(totals: list[tuple[Labels, list[int]]]) -> Iterable[Metric]:
    calls = CounterMetricFamily("penstock_shadow_calls", "Copies of calls that a shadow ran.", labels=_NAMES)
    errors = CounterMetricFamily("penstock_shadow_errors", "Those that failed.", labels=_NAMES)
    dropped = CounterMetricFamily("penstock_shadow_dropped", "Copies dropped for want of time.", labels=_NAMES)
    for labels, cells in totals:
        ran = sum(cells[board.REQUESTS : board.LATENCY])
        calls.add_metric(_values(labels), ran)
        errors.add_metric(_values(labels), ran - cells[board.REQUESTS])
        dropped.add_metric(_values(labels), cells[board.SHADOW_DROPS])
    return calls, errors, dropped


def _histogram(
    totals: list[tuple[Labels, list[int]]],
    name: str, text: str, first: int, bounds: Sequence[float], total: int, scale: float,
) -> Metric:  # fmt: skip
    family = HistogramMetricFamily(name, text, labels=_NAMES)
    edges = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    for labels, cells in totals:
        counts = accumulate(cells[first : first + len(edges)])
        family.add_metric(_values(labels), list(zip(edges, counts, strict=True)), cells[total] * scale)
    return family


def _values(labels: Labels) -> list[str]:
    return [labels.endpoint, labels.arm, labels.version]
