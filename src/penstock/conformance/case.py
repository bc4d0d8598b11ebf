"""What a case is, and the server that it is pointed at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec

TIMEOUT_S = 30.0
# Where Vertex AI asks a container that is not told otherwise.
HEALTH_ROUTE = "/v1/endpoints/1/deployedModels/2"
PREDICT_ROUTE = f"{HEALTH_ROUTE}:predict"


class Failed(Exception):
    """The server does not keep the clause; the text says what it did instead."""


class Skipped(Exception):
    """The case cannot be asked of this server; the text says why."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a contract demands. `clause` is where it stands, `check` raises Failed or Skipped."""

    contract: str
    name: str
    clause: str
    check: Callable[[Server], None]


class Server:
    """The server, the model to ask, and a call that it is known to answer.

    `example` is the body of a good call in the contract's form; without one, the contract's metadata tells what to
    send. `identity` is a model that gives back its only input. The routes are those that Vertex AI would set.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        example: Any = None,
        identity: str = "",
        health_route: str = HEALTH_ROUTE,
        predict_route: str = PREDICT_ROUTE,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.model = model
        self.example = example
        self.identity = identity
        self.health_route = health_route
        self.predict_route = predict_route
        self.seen_5xx: list[str] = []
        self._client = httpx.Client(
            base_url=url, timeout=TIMEOUT_S, headers=dict(headers or {}), transport=transport, trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request; `body` is sent as JSON, `raw` as it is. Raises Failed for a server that does not answer."""
        content = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        sent = dict(headers or {})
        if content is not None:
            sent.setdefault("content-type", "application/json")
        try:
            answer = self._client.request(method, path, content=content, headers=sent)
        except httpx.HTTPError as error:
            raise Failed(f"{method} {path}: {type(error).__name__}: {error}") from None
        # 501 and 503 are said on purpose; the others are a server that broke.
        if answer.status_code >= 500 and answer.status_code not in (501, 503):
            self.seen_5xx.append(f"{method} {path}: {answer.status_code}")
        return answer

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """POST of a JSON body."""
        return self.call("POST", path, body, **more)


def demand(condition: bool, said: str) -> None:
    """Raise Failed with what was said unless the condition holds."""
    if not condition:
        raise Failed(said)


def demand_status(answer: httpx.Response, *statuses: int) -> None:
    """Raise Failed unless the status is one of these."""
    wanted = " or ".join(map(str, statuses))
    demand(answer.status_code in statuses, f"status {answer.status_code}, not {wanted}: {answer.text[:160]}")


def demand_refused(answer: httpx.Response) -> None:
    """Raise Failed unless the call was refused as the caller's mistake."""
    demand(400 <= answer.status_code < 500, f"status {answer.status_code}, not one of 4xx: {answer.text[:160]}")


def json_of(answer: httpx.Response) -> Any:
    """The answer's JSON; raises Failed if it is none."""
    try:
        return answer.json()
    except ValueError:
        raise Failed(f"the answer is no JSON: {answer.text[:160]!r}") from None


def cases_of(contract: str, clauses: str, checks: list[Callable[[Server], None]]) -> list[Case]:
    """A case of each function: its name and the first line of its docstring, `CLAUSE: what is demanded`."""
    found = []
    for check in checks:
        clause, _, said = (check.__doc__ or "").strip().partition("\n")[0].rstrip(".").partition(": ")
        found.append(Case(contract=contract, name=said, clause=f"{clauses}, {clause}", check=check))
    return found
