"""Doors of nodes: the routes they follow, the reports they send, the list of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from penstock.api.access import identify
from penstock.api.answers import Body, Page, answer, decode, page
from penstock.api.deploy import Operator
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.models import Cursor, Limit, Reader
from penstock.control.records import NodeRecord, NodeReport
from penstock.core.names import check_name
from penstock.core.routes import RouteDocument
from penstock.security.identity import Identity
from penstock.security.permissions import allow

router = APIRouter()
NodeName = Annotated[str, Path(max_length=128)]


def node_subject(name: str) -> str:
    """The subject that a node's key has."""
    return f"node:{name}"


def identify_node(name: NodeName, identity: Annotated[Identity, Depends(identify)]) -> Identity:
    """The node itself by its own key, or somebody who may apply: a report decides when an apply has come through."""
    check_name(name, "node")
    if identity.subject != node_subject(name):
        allow(identity, "apply")
    return identity


ItsNode = Annotated[Identity, Depends(identify_node)]


@router.get("/v1/nodes", **door(Page[NodeRecord]))
def list_nodes(request: Request, who: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every node that was ever heard of, by name."""
    nodes = [node for node in doors_of(request).control.nodes() if node.name > (cursor or "")]
    return answer(page(nodes, limit, lambda node: node.name))


@router.delete("/v1/nodes/{name}", **door(None, status=204))
def forget(
    request: Request, who: Operator, name: NodeName, reason: Annotated[str, Query(max_length=4000)] = ""
) -> Response:
    """Take a node that is gone for good off the list."""
    doors_of(request).control.forget_node(name, identity=who, reason=reason)
    return Response(status_code=204)


@router.get("/v1/nodes/{name}/routes", **door(RouteDocument))
async def routes(
    request: Request,
    who: ItsNode,
    name: NodeName,
    after: Annotated[int, Query(ge=-1, le=2**53, description="The generation the node has.")] = -1,
    digest: Annotated[str, Query(max_length=80, description="The digest of that document.")] = "",
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait so long for another one.")] = 0,
) -> Response:
    """The route document, as soon as it is another one than the node has; 204 when there was none in time."""
    doors = doors_of(request)
    data = await doors.watch.after((after, digest), wait_s, doors.stopping)
    return Response(status_code=204) if data is None else Response(data, 200, media_type="application/json")


@router.post("/v1/nodes/{name}/report", **door(None, status=204, body=NodeReport))
def report(request: Request, who: ItsNode, name: NodeName, body: Body) -> Response:
    """What the node serves, what it could not load, and that it is alive."""
    doors_of(request).control.acknowledge(name, decode(body, NodeReport))
    return Response(status_code=204)
