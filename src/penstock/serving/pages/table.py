"""Which page is where: by path, and by the verb of a model's address.

A new contract's pages are a line in each table.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.protocols.problems import JSON
from penstock.serving.http.message import Reply
from penstock.serving.pages import azureml, clouds, kserve, oip, openai, repository, statistics, tfserving
from penstock.serving.pages.visit import Page, Visit


def _metrics(visit: Visit) -> Reply:
    # On the first scrape only: the client library is no part of a cold start.
    from penstock.serving import metrics

    return Reply(200, metrics.CONTENT_TYPE, metrics.page(visit.node.boards))


def _openapi(visit: Visit) -> Reply:
    from penstock.protocols.openapi import openapi

    return Reply(200, JSON, msgspec.json.encode(openapi()))


PAGES: Mapping[str, Page] = {
    "/openapi.json": Page(_openapi),
    "/metrics": Page(_metrics),
    **clouds.PAGES,
    **kserve.PAGES,
    **oip.PAGES,
    **openai.PAGES,
    **repository.PAGES,
    **statistics.PAGES,
}
MODEL_PAGES: Mapping[str, Page] = {
    **azureml.MODEL_PAGES,
    **clouds.MODEL_PAGES,
    **oip.MODEL_PAGES,
    **openai.MODEL_PAGES,
    **repository.MODEL_PAGES,
    **statistics.MODEL_PAGES,
    **tfserving.MODEL_PAGES,
}
