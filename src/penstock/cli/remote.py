"""Control through its API, with a key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from penstock.bundle.bundle import Bundle, open_bundle, save_bundle
from penstock.control.checking import CheckWish
from penstock.control.checks import rename_files
from penstock.control.deploy import Start
from penstock.control.gate_files import reference_to, split_reference
from penstock.control.nodes import convergence
from penstock.control.plan import bundle_path
from penstock.control.reading import read_spec_file
from penstock.control.records import (
    Approval,
    Convergence,
    Failure,
    KeyRecord,
    NewKey,
    NodeRecord,
    Operation,
    Plan,
    Release,
    RolloutEvent,
    RolloutRecord,
    Status,
)
from penstock.control.spec import Spec
from penstock.core.digest import canonical_json
from penstock.core.errors import NotFound, PenstockError, Unavailable
from penstock.core.verdicts import Report
from penstock.gates.plan import with_files
from penstock.registry.records import Version
from penstock.rollout.decide import Command
from penstock.rollout.judgement import RolloutReport
from penstock.sdk.security import Security, headers_of, tls_of

Answer = TypeVar("Answer")
_TIMEOUT_S = 60
_WAIT_S = 30
_PAGE = 1000
_BYTES = {"content-type": "application/octet-stream"}


class Page(msgspec.Struct, frozen=True):
    """A part of a list, and the cursor of the rest."""

    items: list[msgspec.Raw]
    next: str | None


class Remote:
    """A desk at `url`; `bundles` is where archives are extracted to read their digest."""

    def __init__(self, url: str, security: Security, bundles: Path) -> None:
        headers = {**headers_of(security), "content-type": "application/json"}
        tls = tls_of(security) if url.startswith("https://") else False
        # No proxy of the environment: control is usually near, and the key is not for others.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, verify=tls, trust_env=False)
        self._url = url
        self._bundles = bundles

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def plan(self, file: Path) -> Plan:
        """The difference between the file and what is; nothing is uploaded."""
        return self._ask("POST", "/v1/plan", Plan, content=canonical_json(self._pinned(file, upload=False)))

    def apply(
        self, file: Path, *, expected_generation: int | None, reason: str, tell: Callable[[Operation], None]
    ) -> Operation:
        """Upload the file's bundles, ask for it, and follow it."""
        wanted: dict[str, Any] = {"reason": reason}
        if expected_generation is not None:
            wanted["expected_generation"] = expected_generation
        spec = canonical_json(self._pinned(file, upload=True))
        return self._followed(self._ask("POST", "/v1/apply", Operation, content=spec, params=wanted), tell)

    def check(self, wish: CheckWish, tell: Callable[[Operation], None]) -> Report:
        """Upload the files of the gates, have a registered version judged there, and follow it."""
        gates = with_files(wish.gates, lambda name: self._gate_file(Path(), name, upload=True))
        asked = canonical_json(msgspec.structs.replace(wish, gates=gates))
        done = self._followed(self._ask("POST", "/v1/checks", Operation, content=asked), tell)
        if done.error is not None:
            raise done.error.error()
        return self._ask("GET", f"/v1/operations/{done.id}/report", Report)

    def _followed(self, operation: Operation, tell: Callable[[Operation], None]) -> Operation:
        while True:
            tell(operation)
            if operation.ended or operation.state == "waiting-approval":
                return operation
            operation = self._ask(
                "GET",
                f"/v1/operations/{operation.id}",
                Operation,
                params={"after": len(operation.progress), "wait_s": _WAIT_S},
            )

    def converged(self, generation: int) -> Convergence:
        """Which nodes serve it."""
        return convergence(generation, self._all("/v1/nodes", NodeRecord))

    def status(self) -> Status:
        """Everything."""
        return self._ask("GET", "/v1/status", Status)

    def create_key(
        self,
        subject: str,
        role: str,
        *,
        endpoints: tuple[str, ...] | None,
        expires_in_s: float | None,
        rate_per_s: float | None,
        reason: str,
    ) -> NewKey:
        """A new key."""
        wish = {
            "subject": subject,
            "role": role,
            "endpoints": endpoints,
            "expires_in_s": expires_in_s,
            "rate_per_s": rate_per_s,
            "reason": reason,
        }
        return self._ask("POST", "/v1/keys", NewKey, content=canonical_json(wish))

    def keys(self) -> list[KeyRecord]:
        """Every key."""
        return self._all("/v1/keys", KeyRecord)

    def revoke_key(self, key_id: str, reason: str) -> KeyRecord:
        """End it now."""
        return self._ask("DELETE", f"/v1/keys/{quote(key_id, safe='')}", KeyRecord, params={"reason": reason})

    def rotate_key(self, key_id: str, grace_s: float, reason: str) -> NewKey:
        """A successor."""
        wish = canonical_json({"grace_s": grace_s, "reason": reason})
        return self._ask("POST", f"/v1/keys/{quote(key_id, safe='')}/rotate", NewKey, content=wish)

    def approve(self, number: int, reason: str) -> Approval:
        """Let it happen."""
        return self._decide(number, "approve", reason)

    def refuse(self, number: int, reason: str) -> Approval:
        """Do not let it happen."""
        return self._decide(number, "refuse", reason)

    def _decide(self, number: int, decision: str, reason: str) -> Approval:
        return self._ask(
            "POST", f"/v1/approvals/{number}/{decision}", Approval, content=canonical_json({"reason": reason})
        )

    def start(self, endpoint: str, wish: Start, tell: Callable[[Operation], None]) -> Operation:
        """Ask for it, and follow its gates."""
        asked = self._ask("POST", f"{_endpoint(endpoint)}/rollout", Operation, content=canonical_json(wish))
        return self._followed(asked, tell)

    def rollouts(self, endpoint: str) -> list[RolloutRecord]:
        """Rollouts, the newest first."""
        return self._all("/v1/rollouts", RolloutRecord, endpoint=endpoint)

    def rollout_events(self, number: int) -> list[RolloutEvent]:
        """What one did."""
        return self._ask("GET", f"/v1/rollouts/{number}/events", list[RolloutEvent])

    def command_rollout(self, number: int, what: Command, reason: str) -> RolloutRecord:
        """Tell one what to do."""
        return self._ask("POST", f"/v1/rollouts/{number}/{what}", RolloutRecord, params={"reason": reason})

    def retry(self, endpoint: str, reason: str) -> RolloutRecord:
        """Begin again what went back."""
        return self._ask("POST", f"{_endpoint(endpoint)}/retry", RolloutRecord, params={"reason": reason})

    def rollback(self, endpoint: str, to: int | None, reason: str) -> RolloutRecord:
        """Serve what was served before."""
        wanted = {"reason": reason} if to is None else {"reason": reason, "to": to}
        return self._ask("POST", f"{_endpoint(endpoint)}/rollback", RolloutRecord, params=wanted)

    def releases(self, endpoint: str) -> list[Release]:
        """What an endpoint was."""
        return self._ask("GET", f"{_endpoint(endpoint)}/releases", list[Release])

    def report(self, number: int) -> RolloutReport:
        """A rollout as control's log shows it."""
        return self._ask("GET", f"/v1/rollouts/{number}/report", RolloutReport)

    # How

    def _pinned(self, file: Path, *, upload: bool) -> Spec:
        spec = read_spec_file(file)
        models = {}
        for name, about in spec.models.items():
            path = bundle_path(about.bundle, f"models.{name}", file.absolute().parent)
            digest = about.bundle
            if path is not None:
                bundle = open_bundle(path, self._bundles)
                digest = bundle.digest
                if upload:
                    self._upload(name, bundle)
            models[name] = msgspec.structs.replace(about, bundle=digest)
        spec = msgspec.structs.replace(spec, models=models)
        return rename_files(spec, lambda name: self._gate_file(file.absolute().parent, name, upload=upload))

    def _gate_file(self, folder: Path, name: str, *, upload: bool) -> str:
        """What a file is called at control, which is sent it unless it has it."""
        if split_reference(name) is not None:
            return name
        file = folder / name
        if not file.is_file():
            raise NotFound("unknown-file", f"the gates name {file}, which is not there", hint="mend the path in gates")
        reference = reference_to(file)
        where = f"/v1/gate-files/{reference.partition('/')[0]}"
        if upload and not self._ask("GET", where, dict[str, Any])["kept"]:
            with file.open("rb") as content:
                self._ask("PUT", where, dict[str, Any], content=content, headers=_BYTES)
        return reference

    def spec(self) -> Spec | None:
        """What was applied last."""
        return self._ask("GET", "/v1/spec", Spec | None)  # type: ignore[arg-type]

    def apply_spec(self, spec: Spec, *, expected_generation: int, reason: str) -> Operation:
        """Make it so, unless somebody else applied since, and follow it."""
        wanted = {"reason": reason, "expected_generation": expected_generation}
        asked = self._ask("POST", "/v1/apply", Operation, content=canonical_json(spec), params=wanted)
        return self._followed(asked, lambda operation: None)

    def register(self, model: str, archive: Path, reason: str) -> Version:
        """Upload a bundle; one that is registered already keeps its number."""
        path = f"/v1/models/{quote(model, safe='')}/versions"
        with archive.open("rb") as file:
            return self._ask("POST", path, Version, content=file, headers=_BYTES, params={"reason": reason})

    def wait_converged(self, generation: int, wait_s: float) -> Convergence:
        """Which nodes serve it, when all do or one cannot, or when the time is over."""
        path = f"/v1/generations/{generation}/convergence"
        return self._ask("GET", path, Convergence, params={"wait_s": min(wait_s, _WAIT_S)})

    def _upload(self, model: str, bundle: Bundle) -> None:
        archive = save_bundle(bundle, self._bundles / f"{bundle.version}.upload.penstock")
        try:
            with archive.open("rb") as file:
                path = f"/v1/models/{quote(model, safe='')}/versions"
                self._ask("POST", path, dict[str, Any], content=file, headers=_BYTES)
        finally:
            archive.unlink(missing_ok=True)

    def _all(self, path: str, kind: type[Answer], **wanted: str) -> list[Answer]:
        found: list[Answer] = []
        params: dict[str, Any] = {"limit": _PAGE, **wanted}
        while True:
            part = self._ask("GET", path, Page, params=params)
            found += [msgspec.json.decode(item, type=kind) for item in part.items]
            if part.next is None:
                return found
            params["cursor"] = part.next

    def _ask(self, method: str, path: str, kind: type[Answer], **how: Any) -> Answer:
        try:
            response = self._http.request(method, path, **how)
        except httpx.HTTPError as error:
            raise Unavailable(
                "control-unavailable", f"{self._url}: {error or type(error).__name__}", hint="is penstock up running?"
            ) from error
        if response.is_success:
            try:
                return msgspec.json.decode(response.content, type=kind)
            except msgspec.MsgspecError as error:
                raise Unavailable(
                    "control-unavailable", f"{self._url} answered what no control does: {error}"
                ) from None
        raise self._problem(response)

    def _problem(self, response: httpx.Response) -> PenstockError:
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.MsgspecError:
            return Unavailable(
                "control-unavailable", f"{self._url} answered {response.status_code}, and not as control"
            )
        return Failure(problem.title, problem.code, problem.detail, problem.hint).error()

    def _strange(self, what: str) -> PenstockError:
        return Unavailable("control-unavailable", f"{self._url} does not answer as control does: {what}")


def _endpoint(name: str) -> str:
    return f"/v1/endpoints/{quote(name, safe='')}"


class _Problem(msgspec.Struct):
    title: str
    code: str
    detail: str
    hint: str = ""
