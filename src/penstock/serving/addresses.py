"""From a URL to what answers it. One dictionary for the addresses that matter, a parser for all the others."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from penstock.core.errors import NotFound
from penstock.serving.arms import ServedArm, ServedEndpoint
from penstock.serving.log import Log


class Target(msgspec.Struct, frozen=True, gc=False):
    """An address that leads to a model: its endpoint, the version the URL pins, the form of the body."""

    endpoint: ServedEndpoint
    version: str | None
    as_rows: bool
    prefixes: Mapping[ServedArm | None, str]

    def prefix(self, arm: ServedArm | None) -> str:
        """The fixed part of the access log's line."""
        return self.prefixes[arm]


class ModelAddress(msgspec.Struct, frozen=True):
    """A parsed model URL: `verb` is `infer`, `rows`, `ready` or `metadata`."""

    name: str
    version: str | None
    verb: str


def parse(url: bytes) -> ModelAddress | str:
    """A model's address, or the plain path of anything else; the query is ignored.

    Example:
        >>> parse(b"/v2/models/churn/versions/7/infer")
        ModelAddress(name='churn', version='7', verb='infer')
        >>> parse(b"/metrics?x=1")
        '/metrics'
    """
    if not url.startswith(b"/"):
        # The absolute form that proxies send: `http://host/path`.
        url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    path = url.partition(b"?")[0].decode("latin-1")
    parts = [unquote(part) for part in path.split("/")[1:]]
    if parts and not parts[-1]:
        parts.pop()
    match parts:
        case ["predict", name]:
            return ModelAddress(name, None, "rows")
        case ["v2", "models", name]:
            return ModelAddress(name, None, "metadata")
        case ["v2", "models", name, "infer" | "ready" as verb]:
            return ModelAddress(name, None, verb)
        case ["v2", "models", name, "versions", version]:
            return ModelAddress(name, version, "metadata")
        case ["v2", "models", name, "versions", version, "infer" | "ready" as verb]:
            return ModelAddress(name, version, verb)
    return "/" + "/".join(parts)


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
        self.exact: dict[bytes, Target] = {}
        for name in endpoints:
            self.exact[f"/v2/models/{name}/infer".encode()] = self.target(ModelAddress(name, None, "infer"))
            self.exact[f"/predict/{name}".encode()] = self.target(ModelAddress(name, None, "rows"))

    def endpoint(self, name: str) -> ServedEndpoint:
        """The endpoint of that name; raises NotFound."""
        try:
            return self.endpoints[name]
        except KeyError:
            known = ", ".join(sorted(self.endpoints)[:20]) or "none yet"
            raise NotFound(
                "unknown-endpoint", f"there is no endpoint {name[:80]!r}", hint=f"served here: {known}"
            ) from None

    def target(self, address: ModelAddress) -> Target:
        """What answers calls to `address`; raises NotFound."""
        endpoint = self.endpoint(address.name)
        return Target(endpoint, address.version, address.verb == "rows", self._prefixes[endpoint.name])
