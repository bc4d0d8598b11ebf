"""From a URL to what answers it. One dictionary for those that were asked before, a parser for all the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec

from penstock.core.errors import InvalidInput, NotFound, PenstockError
from penstock.core.routes import Endpoint, version_of_label
from penstock.protocols.address import ModelAddress
from penstock.protocols.form import Form
from penstock.serving.access import Caller
from penstock.serving.arms import ServedArm, ServedEndpoint
from penstock.serving.contracts import FORMS, PARSERS, failure_of, named_by_body
from penstock.serving.http.message import Reply
from penstock.serving.log import Log

# Addresses that are kept as they were asked for: pinned versions and queries make them many.
_MOST_EXACT = 4096
NO_ALIASES: Mapping[str, str] = {}


class Target(msgspec.Struct, frozen=True, gc=False):
    """An address that leads to a model: its endpoint, the version the URL pins, the contract it is called by."""

    endpoint: ServedEndpoint
    version: str | None
    form: Form
    prefixes: Mapping[ServedArm | None, str]

    def prefix(self, arm: ServedArm | None) -> str:
        """The fixed part of the access log's line."""
        return self.prefixes[arm]


def parse(url: bytes, aliases: Mapping[str, str] = NO_ALIASES) -> ModelAddress | str:
    """A model's address, or the plain path of anything else; the query is ignored. `aliases` are other paths of them.

    Example:
        >>> parse(b"/v2/models/churn/versions/7/infer").version
        '7'
        >>> parse(b"/metrics?x=1")
        '/metrics'
    """
    parts = _meant(url, aliases)
    contract = PARSERS.get(parts[0]) if parts else None
    address = contract(parts) if contract is not None else None
    return address if address is not None else "/" + "/".join(parts)


def refusal(url: bytes, error: PenstockError, aliases: Mapping[str, str] = NO_ALIASES) -> Reply:
    """The reply for a failure that is no call's, in the form of the contract that the URL belongs to.

    Example:
        >>> refusal(b"/invocations", NotFound("unknown-endpoint", "there is none")).body
        b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"there is none","code":"unknown-endpoint"}'
    """
    return Reply(*failure_of(_meant(url, aliases))(error))


def _meant(url: bytes, aliases: Mapping[str, str]) -> list[str]:
    """The parts of the path that is meant."""
    if not url.startswith(b"/"):
        # The absolute form that proxies send: `http://host/path`.
        url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    parts = _parts(url.partition(b"?")[0].decode("latin-1"))
    meant = aliases.get("/" + "/".join(parts)) if aliases else None
    return parts if meant is None else _parts(meant)


def _parts(path: str) -> list[str]:
    parts = [unquote(part) for part in path.split("/")[1:]]
    if parts and not parts[-1]:
        parts.pop()
    return parts


class Addresses:
    """The addresses of one generation of endpoints; replaced as a whole by a swap."""

    def __init__(self, endpoints: Mapping[str, ServedEndpoint], log: Log) -> None:
        self.endpoints = endpoints
        self._prefixes: dict[str, dict[ServedArm | None, str]] = {
            name: {
                None: log.access_prefix(name, "", ""),
                # By the arm itself: its name may change while a call is with it.
                **{arm: log.access_prefix(name, arm.arm.name, arm.arm.version) for arm in endpoint.arms},
            }
            for name, endpoint in endpoints.items()
        }
        # With those that are not loaded now: what an address means must not change with that.
        self.known: Mapping[str, Endpoint] = {name: endpoint.route for name, endpoint in endpoints.items()}
        # By the URL's bytes; filled as they are asked for.
        self.exact: dict[bytes, Target] = {}

    def name(self, address: ModelAddress, caller: Caller | None = None) -> str:
        """The endpoint that is meant, whether it is loaded or not; raises InvalidInput where nothing says which.

        A `caller` hears of the endpoints that he may call.
        """
        if address.name is not None:
            return address.name
        marked = [name for name, endpoint in self.known.items() if len(self.known) == 1 or endpoint.default]
        if not marked:
            where, how = ("body", "as `model` in the body") if named_by_body(address) else ("address", "in the address")
            raise InvalidInput(
                "no-default-endpoint",
                f"the {where} names no model, and none is the default",
                hint=f"{_said(self.known, caller)}; name one {how}, or mark one with `default: true`",
            )
        return marked[0]

    def endpoint(self, name: str, caller: Caller | None = None) -> ServedEndpoint:
        """The endpoint of that name, if it is loaded; raises NotFound, whose `caller` hears of those he may call."""
        try:
            return self.endpoints[name]
        except KeyError:
            raise NotFound(
                "unknown-endpoint", f"there is no endpoint {name[:80]!r}", hint=_said(self.endpoints, caller)
            ) from None

    def target(self, address: ModelAddress, url: bytes = b"", caller: Caller | None = None) -> Target:
        """What answers calls to `address`; raises NotFound, InvalidInput. A `url` is known from then on."""
        endpoint = self.endpoint(self.name(address, caller), caller)
        version = pinned_version(endpoint, address)
        target = Target(endpoint, version, FORMS[address.verb], self._prefixes[endpoint.name])
        if url and len(self.exact) < _MOST_EXACT:
            self.exact[url] = target
        return target


def _said(names: Iterable[str], caller: Caller | None) -> str:
    """Which endpoints there are, of those that the caller may know of."""
    known = [name for name in sorted(names) if caller is None or caller.may_call(name)]
    return f"served here: {', '.join(known[:20]) or 'none yet'}"


def pinned_version(endpoint: ServedEndpoint, address: ModelAddress) -> str | None:
    """The version that an address pins, by itself or by a label; raises NotFound for a label that is not set."""
    return address.version if address.label is None else version_of_label(endpoint.route, address.label)
