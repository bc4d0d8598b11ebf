"""The life of a request, whichever door it came through. Start reading here.

    bytes → who calls → route → admit → decode → cache → batch → runtime → encode → bytes

Routing comes before decoding because the version that answers decides which names, datatypes and shapes are right;
admission comes before decoding because a node that has too much to do must not spend time on what it will refuse.
"""

from __future__ import annotations

from collections.abc import Coroutine

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.tensors import Tensors
from penstock.protocols.encodings import refuse_encoding
from penstock.runtime.batcher import Pending
from penstock.serving.access import Caller
from penstock.serving.addresses import Target
from penstock.serving.arms import ServedArm, ServedEndpoint, admit
from penstock.serving.board import ACCEPTED, ANSWERED
from penstock.serving.http.message import JSON, Reply, Request
from penstock.serving.pages import failure
from penstock.serving.state import NodeState


def answer(request: Request, node: NodeState) -> Reply | Coroutine[Pending, None, Reply]:
    """What every request of the node comes to: a page at once, or a call that may have to wait. Nothing raises here."""
    cells = node.board.cells
    cells[ACCEPTED] += 1
    target = node.addresses.exact.get(request.url)
    if target is not None and request.method == b"POST":
        return infer(request, target, node)
    found = node.find(request)
    if isinstance(found, Target):
        return infer(request, found, node)
    cells[ANSWERED] += 1
    return found


async def infer(request: Request, target: Target, node: NodeState) -> Reply:
    """One call to a model."""
    request_id = node.request_id(request)
    arm: ServedArm | None = None
    caller: Caller | None = None
    call: Call | None = None
    outputs: Tensors | None = None
    rows, code, reason, unit = 0, "", "", 0
    try:
        endpoint = target.endpoint
        if node.access is not None:
            caller = node.access.admit(request.headers, endpoint.name, request.arrived, request.peer)
        timeout = request.headers.get(b"penstock-timeout-ms")
        deadline = request.arrived + (endpoint.deadline_s if timeout is None else _timeout_s(timeout, endpoint))
        arm, reason, unit, bucket = endpoint.choose(request, target.version, target.as_rows, caller, node.draw)
        arm.in_flight += 1
        admit(arm, endpoint, deadline, request.arrived)
        encoding = request.headers.get(b"content-encoding")
        if encoding is not None:
            refuse_encoding(encoding)
        codec = arm.rows if target.as_rows else arm.infer
        length = request.headers.get(b"inference-header-content-length")
        call = codec.decode(request.body, None if length is None else _json_length(length))
        rows = call.rows
        if target.as_rows and call.id is None:
            call.id = request_id
        outputs = await arm.outputs(call, deadline)
        body, json_length = codec.encode(call, outputs)
        status, head = 200, arm.head(reason, bucket)
        if json_length:
            head = _binary_head(head, json_length)
    except PenstockError as error:
        code = error.code
        status, head, body = refusal(error)
    except Exception as error:  # our own defect: the client gets a reply and no trace, the log gets all of it
        code = "internal-error"
        node.report(error, request_id)
        status, head, body = refusal(
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
    head += b"x-request-id: %b\r\n" % request_id.encode()
    trace = request.headers.get(b"traceparent")
    if trace is not None:
        head += b"traceparent: %b\r\n" % trace
    return Reply(status, head, body)


def refusal(error: PenstockError) -> tuple[int, bytes, bytes]:
    """Status, headers and body of a failure."""
    reply = failure(error)
    return reply.status, reply.headers, reply.body


def _timeout_s(value: bytes, endpoint: ServedEndpoint) -> float:
    """The caller's own deadline when it is shorter than the endpoint's."""
    if not value.isdigit() or not 0 < len(value) < 10:
        raise InvalidInput("invalid-timeout", "penstock-timeout-ms is not a whole number of milliseconds")
    return min(endpoint.deadline_s, int(value) / 1e3)


def _json_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 12:
        raise InvalidInput("wrong-header-length", "Inference-Header-Content-Length is not a whole number of bytes")
    return int(value)


def _binary_head(head: bytes, json_length: int) -> bytes:
    head = head.replace(JSON, b"content-type: application/octet-stream\r\n")
    return head + b"inference-header-content-length: %d\r\n" % json_length
