"""The model repository: an index of what is there, and loading and unloading by callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from penstock.core.errors import Refused
from penstock.core.routes import Endpoint
from penstock.protocols.oip import repository
from penstock.protocols.oip.repository import RepositoryModel
from penstock.protocols.problems import JSON
from penstock.serving.http.message import Reply
from penstock.serving.pages.visit import Page, PageReply, Visit
from penstock.serving.repository import Repository


def models_of(visit: Visit) -> list[RepositoryModel]:
    """Every version of every endpoint that the caller may call, loaded or not."""
    node, caller = visit.node, visit.caller
    endpoints: dict[str, Endpoint] = {} if node.repository is None else node.repository.known()
    endpoints |= {name: endpoint.route for name, endpoint in node.addresses.endpoints.items()}
    found = []
    for name, endpoint in sorted(endpoints.items()):
        if caller is not None and not caller.may_call(name):
            continue
        reason = node.not_loaded(name) or ""
        state = "READY" if name in node.addresses.endpoints else "UNAVAILABLE"
        found += [
            RepositoryModel(name, arm.version.rpartition("/")[2], state, reason if state != "READY" else "")
            for arm in endpoint.arms
        ]
    return found


def _index(visit: Visit) -> Reply:
    ready = repository.index_wish(visit.request.body)
    return Reply(200, JSON, repository.index([m for m in models_of(visit) if m.state == "READY" or not ready]))


def _load(visit: Visit) -> PageReply:
    repository.check_load(visit.request.body)
    return changing(repository_of(visit).load(visit.name), Reply(200, JSON, b"{}"))


def _unload(visit: Visit) -> PageReply:
    repository.check_unload(visit.request.body)
    return changing(repository_of(visit).unload(visit.name), Reply(200, JSON, b"{}"))


def repository_of(visit: Visit) -> Repository:
    """The node's repository, if this caller may change it; raises Refused, Conflict, Forbidden."""
    found = visit.node.repository
    if found is None:
        raise Refused("model-control-off", "this node loads and unloads nothing for callers")
    found.check(visit.caller)
    return found


async def changing(work: Awaitable[None], done: Reply) -> Reply:
    """The reply `done` once the work is; whoever drives this knows no tasks, so the work gets one of its own."""
    task: asyncio.Future[Any] = asyncio.ensure_future(work)
    await task
    return done


PAGES: Mapping[str, Page] = {"/v2/repository/index": Page(_index, (b"POST",), keyed=True)}
MODEL_PAGES: Mapping[str, Page] = {"load": Page(_load, (b"POST",)), "unload": Page(_unload, (b"POST",))}
