"""What answers a request whose address was not asked before: a model, or a page."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import msgspec

from penstock.core.errors import NotFound, PenstockError, TooLarge, Unavailable
from penstock.protocols.address import ModelAddress
from penstock.protocols.encodings import undone
from penstock.serving.access import Caller
from penstock.serving.addresses import Target, parse, refusal
from penstock.serving.contracts import FORMS
from penstock.serving.http.message import Reply, Request
from penstock.serving.pages.table import MODEL_PAGES, PAGES
from penstock.serving.pages.visit import READING, Page, PageReply, Visit, check_method
from penstock.serving.state import NodeState

# What pages read are wishes of a few lines.
_MOST_PAGE_BYTES = 1 << 20
_CALLING = (b"POST",)
_NOWHERE = ModelAddress(None, None, "")


def find(request: Request, node: NodeState) -> Target | PageReply:
    """The model that is called, or a page's reply. Nothing raises here."""
    address = parse(request.url, node.aliases)
    try:
        if isinstance(address, str):
            return _page(address, request, node)
        return _of_model(address, request, node)
    except PenstockError as error:
        return refusal(request.url, error, node.aliases)
    except Exception as error:  # our own defect: the client gets a reply and no trace, the log gets all of it
        return _defect(error, request, node)


def _defect(error: Exception, request: Request, node: NodeState) -> Reply:
    node.report(error, "page")
    said = PenstockError("internal-error", "this node failed on the request", hint="its log tells more")
    return refusal(request.url, said, node.aliases)


async def _guarded(page: Coroutine[Any, None, Reply], request: Request, node: NodeState) -> Reply:
    """The reply of a page that waits; whoever drives it would wait for ever if it raised."""
    try:
        return await page
    except PenstockError as error:
        return refusal(request.url, error, node.aliases)
    except Exception as error:  # as above
        return _defect(error, request, node)


def _page(path: str, request: Request, node: NodeState) -> PageReply:
    page = PAGES.get(path)
    keyed = page is not None and page.keyed
    caller = _identified(request, node) if keyed else None
    if page is None:
        raise NotFound(
            "unknown-address", f"there is nothing at {path[:120]!r}", hint="GET /v2/models lists what is served"
        )
    return _visit(page, Visit(request, node, _NOWHERE, caller))


def _of_model(address: ModelAddress, request: Request, node: NodeState) -> Target | PageReply:
    form, page = FORMS.get(address.verb), MODEL_PAGES.get(address.verb)
    if page is not None and page.open:
        return _visit(page, Visit(request, node, address))
    url = request.url
    if form is not None and form.model_of is not None:
        # Which endpoint it is stands in the body, so the address by itself is never known. Who asks, and how, is
        # looked at first: nobody without a key makes the node inflate a body.
        _identified(request, node)
        _check_started(node)
        check_method(request.method, _CALLING)
        endpoints = node.addresses.endpoints.values()
        _undo_encoding(request, max((one.route.limits.max_body_bytes for one in endpoints), default=_MOST_PAGE_BYTES))
        address, url = msgspec.structs.replace(address, name=form.model_of(request.body) or None), b""
    caller = caller_of(address, request, node)
    _check_started(node)
    if form is not None:
        check_method(request.method, _CALLING)
        target = target_of(address, node, url, caller)
        limit = target.endpoint.route.limits.max_body_bytes
        if not url and len(request.body) > limit:
            raise TooLarge("body-too-large", f"the body is larger than the {limit} bytes this endpoint takes")
        return target
    return _visit(MODEL_PAGES[address.verb], Visit(request, node, address, caller))


def _identified(request: Request, node: NodeState) -> Caller | None:
    """Who asks, whatever for; None where nobody needs a key."""
    return None if node.access is None else node.access.identify(request.headers, request.peer)


def _check_started(node: NodeState) -> None:
    if node.starting:
        raise Unavailable("node-starting", "this node is loading its models", hint="ask again when it is ready")


def _undo_encoding(request: Request, limit: int) -> None:
    """The body as it was before it was compressed; raises as `undone`."""
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None:
        request.body = undone(request.body, encoding, limit)
        # A copy: heads that were seen before are shared.
        request.headers = {name: value for name, value in request.headers.items() if name != b"content-encoding"}


def caller_of(address: ModelAddress, request: Request, node: NodeState) -> Caller | None:
    """Who asks for a model, None where nobody needs a key; raises as `AccessTable.look`."""
    access = node.access
    if access is None:
        return None
    # By a key for nothing here nobody learns which endpoint is the default, or that there is none.
    caller = access.identify(request.headers, request.peer)
    return access.look(request.headers, node.addresses.name(address, caller), request.peer)


def target_of(address: ModelAddress, node: NodeState, url: bytes = b"", caller: Caller | None = None) -> Target:
    """What answers calls to `address`; raises as `NodeState.endpoint` and `Addresses.target`."""
    node.endpoint(node.addresses.name(address, caller), caller)
    return node.addresses.target(address, url, caller)


def _visit(page: Page, visit: Visit) -> PageReply:
    request = visit.request
    check_method(request.method, page.methods)
    if request.body and request.method not in READING:
        # Pages that read a body are behind the key, which was looked at.
        _undo_encoding(request, _MOST_PAGE_BYTES)
    found = page.answer(visit)
    return found if isinstance(found, Reply) else _guarded(found, visit.request, visit.node)
