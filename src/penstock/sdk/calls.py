"""Every call of the client as a conversation: what to send, when to try again, what came of it. No I/O here.

Both clients run these, so they cannot differ in anything but how they wait.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from penstock.core.clock import Clock, monotonic
from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.signature import Scalar
from penstock.core.tensors import Tensors
from penstock.sdk.decode import (
    Classes,
    Document,
    Inputs,
    Models,
    decode_infer,
    document_of,
    prediction_of_columns,
    prediction_of_rows,
    prediction_of_tensors,
)
from penstock.sdk.encode import Parameters, encode_infer, encode_pinned_rows, encode_rows, model_path
from penstock.sdk.inputs import is_rows, tensor_of, tensors_of
from penstock.sdk.messages import Conversation, Incoming, Outgoing, Pause, Send
from penstock.sdk.prediction import Prediction
from penstock.sdk.problems import error_of, late, loss_of
from penstock.sdk.retry import pause_before_retry_s

# What a node accepts as `x-request-id`; anything else it would silently replace by an id of its own.
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}[!-~]{0,128}")
_LONGEST_TIMEOUT_S = 999_999.0
_MOST_VERSIONS = 1000


class Terms(msgspec.Struct, frozen=True):
    """How a client behaves: its deadline per call, its retries, and where time and chance come from."""

    timeout_s: float = 10.0
    retries: int = 2
    clock: Clock = monotonic
    draw: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        check_timeout(self.timeout_s)
        if self.retries < 0:
            raise InvalidInput("invalid-option", f"retries is {self.retries}", hint="0 turns retrying off")


class Tracing(msgspec.Struct, frozen=True):
    """What ties a call to the caller's own logs and traces: an id, and a W3C `traceparent`."""

    id: str | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None and not _ID.fullmatch(self.id):
            hint = "use letters, digits and ._:/+=-, at most 128"
            raise InvalidInput("invalid-id", f"the id {self.id[:140]!r} is not valid", hint=hint)
        if self.traceparent is not None and not _TRACE.fullmatch(self.traceparent):
            raise InvalidInput("invalid-traceparent", f"{self.traceparent[:100]!r} is no W3C traceparent")

    def headers(self) -> dict[str, str]:
        """The request headers that carry it."""
        pairs = (("x-request-id", self.id), ("traceparent", self.traceparent))
        return {name: value for name, value in pairs if value is not None}


def check_timeout(timeout_s: float) -> float:
    """Return `timeout_s` if a call may have it; raise InvalidInput."""
    if not 0 < timeout_s <= _LONGEST_TIMEOUT_S:
        raise InvalidInput("invalid-timeout", f"timeout_s is {timeout_s}", hint="give seconds, more than 0")
    return timeout_s


def check_url(url: str) -> str:
    """Return a node's address without a slash at its end; raise InvalidInput.

    Example:
        >>> check_url("http://127.0.0.1:8080/")
        'http://127.0.0.1:8080'
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise InvalidInput("invalid-url", f"{url!r} is no address of a node", hint="write http://127.0.0.1:8080")
    return url.rstrip("/")


class Calls:
    """The conversations with one node. The classes of a version never change, so they are asked for once."""

    def __init__(self, address: str, terms: Terms) -> None:
        self.address = check_url(address)
        self.terms = terms
        self._classes: dict[tuple[str, str], tuple[Scalar, ...] | None] = {}

    def predict(
        self, endpoint: str, data: Any, version: str | None, timeout_s: float | None, tracing: Tracing
    ) -> Conversation[Prediction]:
        """See `Client.predict`."""
        deadline = self._deadline(timeout_s)
        if is_rows(data):
            if version is None:
                answer = yield from self._exchange(encode_rows(endpoint, data, tracing.id), deadline, tracing)
                return prediction_of_rows(endpoint, answer, self.address)
            said = yield from self._document(model_path(endpoint, version), deadline, Inputs)
            outgoing = encode_pinned_rows(endpoint, version, data, said.inputs, tracing.id)
            answer = yield from self._exchange(outgoing, deadline, tracing)
            prediction = prediction_of_columns(endpoint, answer, self.address)
        else:
            outgoing = encode_infer(endpoint, tensors_of(data), version=version, call_id=tracing.id)
            answer = yield from self._exchange(outgoing, deadline, tracing)
            prediction = prediction_of_tensors(endpoint, answer, self.address)
        if prediction.probabilities is None:
            return prediction
        classes = yield from self._classes_of(endpoint, prediction.version, deadline)
        return msgspec.structs.replace(prediction, classes=classes)

    def infer(
        self,
        endpoint: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None,
        parameters: Parameters | None,
        version: str | None,
        timeout_s: float | None,
        tracing: Tracing,
    ) -> Conversation[Tensors]:
        """See `Client.infer`."""
        deadline = self._deadline(timeout_s)
        tensors = {name: tensor_of(name, values) for name, values in inputs.items()}
        outgoing = encode_infer(
            endpoint, tensors, version=version, outputs=outputs, parameters=parameters, call_id=tracing.id
        )
        answer = yield from self._exchange(outgoing, deadline, tracing)
        return decode_infer(answer, self.address)[0]

    def models(self) -> Conversation[list[str]]:
        """See `Client.models`."""
        return (yield from self._document("/v2/models", self._deadline(None), Models)).models

    def metadata(self, endpoint: str, version: str | None) -> Conversation[dict[str, Any]]:
        """See `Client.metadata`."""
        return (yield from self._document(model_path(endpoint, version), self._deadline(None), dict[str, Any]))

    def health(self, path: str) -> Conversation[bool]:
        """Whether the node says yes. One attempt: who asks again and again does so himself."""
        heard = yield Send(Outgoing("GET", path), self.terms.timeout_s)
        return isinstance(heard, Incoming) and heard.status == 200

    def _classes_of(self, endpoint: str, version: str, deadline: float) -> Conversation[tuple[Scalar, ...] | None]:
        key = endpoint, version
        if key not in self._classes:
            try:
                said = yield from self._document(model_path(endpoint, version), deadline, Classes)
            except PenstockError:
                # The version was swapped away meanwhile, or time is up: its answer is worth more than its labels.
                return None
            if len(self._classes) >= _MOST_VERSIONS:
                self._classes.clear()
            self._classes[key] = said.classes
        return self._classes[key]

    def _document(self, path: str, deadline: float, kind: type[Document]) -> Conversation[Document]:
        answer = yield from self._exchange(Outgoing("GET", path), deadline, Tracing())
        return document_of(answer, self.address, kind)

    def _deadline(self, timeout_s: float | None) -> float:
        return self.terms.clock() + (self.terms.timeout_s if timeout_s is None else check_timeout(timeout_s))

    def _exchange(self, outgoing: Outgoing, deadline: float, tracing: Tracing) -> Conversation[Incoming]:
        """Send until there is an answer, a failure that another attempt would not mend, or no time left."""
        clock = self.terms.clock
        allowed_s = deadline - clock()
        attempt = 0
        while True:
            remaining_s = deadline - clock()
            if remaining_s <= 0:
                raise late(self.address, allowed_s)
            headers = {
                **outgoing.headers,
                **tracing.headers(),
                "penstock-timeout-ms": str(math.ceil(remaining_s * 1e3)),
            }
            heard = yield Send(msgspec.structs.replace(outgoing, headers=headers), remaining_s)
            assert heard is not None  # noqa: S101 - a shell answers a Send with what it heard
            if isinstance(heard, Incoming) and heard.status == 200:
                return heard
            pause_s = pause_before_retry_s(heard, attempt, self.terms.draw())
            # A pause that ends after the deadline would only hide the reason behind a timeout.
            if pause_s is None or attempt == self.terms.retries or clock() + pause_s >= deadline:
                if isinstance(heard, Incoming):
                    raise error_of(heard, self.address)
                raise loss_of(heard, self.address, allowed_s)
            attempt += 1
            yield Pause(pause_s)
