"""The life of a request, whichever door it came through. Start reading here.

    bytes → who calls → route → admit → decode → cache → batch → runtime → encode → bytes

Routing comes before decoding because the version that answers decides which names, datatypes and shapes are right;
admission comes before decoding because a node that has too much to do must not spend time on what it will refuse.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.tensors import Tensors
from penstock.protocols.encodings import packed, undone
from penstock.protocols.form import Form
from penstock.serving.access import Caller
from penstock.serving.addresses import Target
from penstock.serving.arms import ServedArm, ServedEndpoint, admit
from penstock.serving.board import ACCEPTED, ANSWERED
from penstock.serving.find import find
from penstock.serving.http.message import Reply, Request
from penstock.serving.state import NodeState


def answer(request: Request, node: NodeState) -> Reply | Coroutine[Any, None, Reply]:
    """What every request of the node comes to: a page at once, or a call that may have to wait. Nothing raises here."""
    cells = node.board.cells
    cells[ACCEPTED] += 1
    target = node.addresses.exact.get(request.url)
    if target is not None and request.method == b"POST":
        return infer(request, target, node)
    found = find(request, node)
    if isinstance(found, Target):
        return infer(request, found, node)
    cells[ANSWERED] += 1
    return found


async def infer(request: Request, target: Target, node: NodeState) -> Reply:
    """One call to a model."""
    request_id, form = node.request_id(request), target.form
    arm: ServedArm | None = None
    caller: Caller | None = None
    call: Call | None = None
    outputs: Tensors | None = None
    rows, code, reason, unit = 0, "", "", 0
    try:
        endpoint = target.endpoint
        if node.access is not None:
            caller = node.access.admit(request.headers, endpoint.name, request.arrived, request.peer)
        encoding = request.headers.get(b"content-encoding")
        if encoding is not None:
            # Before routing: the unit may stand in the body.
            request.body = undone(request.body, encoding, endpoint.route.limits.max_body_bytes)
        timeout = request.headers.get(b"penstock-timeout-ms")
        deadline = request.arrived + (endpoint.deadline_s if timeout is None else _timeout_s(timeout, endpoint))
        arm, reason, unit, bucket = endpoint.choose(request, target.version, form, caller, node.draw)
        arm.in_flight += 1
        admit(arm, endpoint, deadline, request.arrived)
        codec = arm.codec(form)
        call = codec.decode(request.body, request.headers)
        rows = call.rows
        if form.names_calls and call.id is None:
            call.id = request_id
        outputs = await arm.outputs(call, deadline)
        body, kind = codec.encode(call, outputs)
        status, head = 200, kind + arm.head(reason, bucket)
    except PenstockError as error:
        code = error.code
        status, head, body = form.failure(error)
    except Exception as error:  # our own defect: the client gets a reply and no trace, the log gets all of it
        code = "internal-error"
        node.report(error, request_id)
        status, head, body = form.failure(
            PenstockError("internal-error", "this node failed on the request", hint=f"its log has {request_id}")
        )
    seconds = node.clock() - request.arrived
    if arm is not None:
        node.board.record(arm.series, status, seconds, rows)
        subject = "" if caller is None else caller.subject
        if arm.records is not None:
            size = len(request.body) + len(body)
            arm.records.add(
                request_id, request.arrived, seconds, status, code, reason, subject, unit, rows, call, outputs, size
            )
        arm.release()
        shadows = target.endpoint.shadows
        if shadows and call is not None:
            for shadow in shadows:
                shadow.offer(request_id, request.arrived, subject, unit, call, arm.signature, len(request.body))
    node.board.cells[ANSWERED] += 1
    said = target.prefix(arm) if caller is None else target.prefix(arm) + caller.logged
    node.log.access(said, status, seconds, rows, request_id)
    return _reply(request, form, Reply(status, head, body), request_id)


def _reply(request: Request, form: Form, reply: Reply, request_id: str) -> Reply:
    """The reply with what every one has: smaller if the caller takes it so, and what it sent to be sent back."""
    headers = request.headers
    accepted = headers.get(b"accept-encoding")
    smaller = packed(reply.body, accepted) if accepted is not None else None
    if smaller is not None:
        reply.body, coding = smaller
        reply.headers += coding
    reply.headers += b"x-request-id: %b\r\n" % request_id.encode()
    for name in (b"traceparent", *form.echoed):
        value = headers.get(name)
        if value is not None:
            reply.headers += b"%b: %b\r\n" % (name, value)
    return reply


def _timeout_s(value: bytes, endpoint: ServedEndpoint) -> float:
    """The caller's own deadline when it is shorter than the endpoint's."""
    if not value.isdigit() or not 0 < len(value) < 10:
        raise InvalidInput("invalid-timeout", "penstock-timeout-ms is not a whole number of milliseconds")
    return min(endpoint.deadline_s, int(value) / 1e3)
