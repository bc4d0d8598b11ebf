"""What each version did, from the counters of all the node's processes."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.core.routes import arm_of_version
from penstock.protocols.oip.statistics import VersionCounts, statistics
from penstock.protocols.problems import JSON
from penstock.serving import board
from penstock.serving.addresses import pinned_version
from penstock.serving.http.message import Reply
from penstock.serving.pages.oip import served_names
from penstock.serving.pages.visit import Page, Visit


def _all(visit: Visit) -> Reply:
    return Reply(200, JSON, statistics(_counts(visit, set(served_names(visit)), None)))


def _of_model(visit: Visit) -> Reply:
    endpoint = visit.endpoint
    version = pinned_version(endpoint, visit.address)
    if version is not None:
        version = endpoint.arms[arm_of_version(endpoint.route, version)].arm.version
    return Reply(200, JSON, statistics(_counts(visit, {visit.name}, version)))


def _counts(visit: Visit, names: set[str], version: str | None) -> list[VersionCounts]:
    served = {arm.labels for endpoint in visit.node.addresses.endpoints.values() for arm in endpoint.arms}
    found = []
    for labels, cells in sorted(visit.node.boards.totals().items()):
        if labels not in served or labels.endpoint not in names or version not in (None, labels.version):
            continue
        succeeded = cells[board.REQUESTS + board.STATUSES.index(200)]
        calls = sum(cells[board.REQUESTS : board.REQUESTS + len(board.STATUSES) + 1])
        found.append(
            VersionCounts(
                name=labels.endpoint,
                version=labels.version.rpartition("/")[2],
                rows=cells[board.ROWS],
                batches=sum(cells[board.BATCHES : board.BATCHES + len(board.BATCH_BUCKETS_ROWS) + 1]),
                succeeded=succeeded,
                failed=calls - succeeded,
                calls_us=cells[board.LATENCY_SUM_US],
                model_us=cells[board.MODEL_US],
            )
        )
    return found


PAGES: Mapping[str, Page] = {"/v2/models/stats": Page(_all, keyed=True)}
MODEL_PAGES: Mapping[str, Page] = {"stats": Page(_of_model)}
