"""The models of a node, as OpenAI's clients list them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.protocols.openai.models import model_list, model_object
from penstock.protocols.problems import JSON
from penstock.serving.http.message import Reply
from penstock.serving.pages.oip import served_names
from penstock.serving.pages.visit import Page, Visit


def _models(visit: Visit) -> Reply:
    return Reply(200, JSON, model_list(served_names(visit)))


def _model(visit: Visit) -> Reply:
    return Reply(200, JSON, msgspec.json.encode(model_object(visit.endpoint.name)))


PAGES: Mapping[str, Page] = {
    "/v1/models": Page(_models, keyed=True),
    "/openai/v1/models": Page(_models, keyed=True),
}
MODEL_PAGES: Mapping[str, Page] = {"openai-model": Page(_model)}
