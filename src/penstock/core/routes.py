"""The route document: the whole desired state of a node's endpoints.

`docs/formats/routes.md` specifies it. A node that meets a field or format it does not know keeps its last good
document: half a document obeyed is worse than yesterday's obeyed whole.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

import msgspec

from penstock.core.buckets import MOST_SEED_BYTES
from penstock.core.digest import canonical_json, digest_of
from penstock.core.distinct import refuse_duplicate_keys
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.names import check_name

FORMAT = 1
TOTAL_WEIGHT = 10_000
MOST_BATCH_ROWS = 65_536
# Each call may be held against all of an endpoint's rules.
MOST_RULES = 100
MOST_SHADOWS = 8
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What may name a header or a cookie (RFC 9110, "token"): another name would never be found, and nobody would notice.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one endpoint may cost. Times in milliseconds, sizes in bytes, batches in rows."""

    deadline_ms: float = 10_000
    max_wait_ms: float = 1_000
    max_body_bytes: int = 64 * 2**20
    max_batch_rows: int = 64


class Cache(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Answers kept for identical calls; refused for a model that is not deterministic."""

    max_bytes: int = 64 * 2**20
    ttl_s: float = 300


class Arm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One version of a model and its share of the endpoint's traffic, in ten-thousandths.

    `buckets` are the half-open ranges of the 10 000 buckets that it owns; where no arm says any, they follow from the
    weights in the arms' order.
    """

    name: str
    version: str
    bundle: str
    uri: str
    weight: int
    buckets: tuple[tuple[int, int], ...] = ()


class Shadow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A version that gets copies of calls and answers nobody.

    `sample` is the share of calls, in ten-thousandths; what exceeds `max_pending_calls`, or the `budget` (share of one
    core's time, on each event loop), is dropped and counted.
    """

    name: str
    version: str
    bundle: str
    uri: str
    sample: int = TOTAL_WEIGHT
    max_pending_calls: int = 256
    budget: float = 0.25


class Unit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Whom an answer sticks to: the value of one header, one cookie, or one input `field` (of the call's first row)."""

    header: str = ""
    cookie: str = ""
    field: str = ""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Calls that go to one arm whatever the shares are: a `header` with one of `values`, these `units`, or `subjects`.

    `subjects` are holders of keys. The first rule that fits decides.
    """

    name: str
    arm: str
    header: str = ""
    values: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


class Recording(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What of an endpoint's calls goes to the prediction log.

    `sample` is the share of calls, 0 to 1. `fields` overrides, by input or output name, what the signature says:
    sensitive ones are hashed, the others kept.
    """

    sample: float = 1.0
    fields: dict[str, Literal["keep", "drop", "hash"]] = {}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stable address and the arms that share its traffic.

    `seed` decides, together with the unit, who gets which arm; by default it is the endpoint's name. `labels` are names
    for versions of arms, beside the arms' own; the `default` endpoint answers addresses that name no model.
    """

    arms: tuple[Arm, ...]
    shadows: tuple[Shadow, ...] = ()
    seed: str = ""
    unit: Unit | None = None
    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    isolation: Literal["auto", "inline", "process"] = "auto"
    cache: Cache | None = None
    recording: Recording = Recording()
    labels: dict[str, str] = {}
    default: bool = False


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An API key as nodes know it: enough to check it, nothing to use it.

    `digest` is the SHA-256 of the whole key, `subject` who holds it. `endpoints` are those it may call (None: all);
    `expires_at` is in seconds since 1970; `rate_per_s` are calls per second, on each node. With `overrides` its holder
    may choose the arm.
    """

    digest: str
    subject: str
    endpoints: tuple[str, ...] | None = None
    expires_at: float | None = None
    rate_per_s: float | None = None
    overrides: bool = False


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call: the keys by their id (the part of a key that is no secret)."""

    keys: dict[str, KeyEntry]


class RouteDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything control tells a node. `generation` only grows; a document with an older one is ignored.

    Without `access` everybody who reaches the node may call.
    """

    format: int
    generation: int
    endpoints: dict[str, Endpoint]
    access: Access | None = None

    def digest(self) -> str:
        """The digest of the canonical JSON, which tells two documents of one generation apart."""
        return digest_of(canonical_json(self))


def read_routes(data: bytes) -> RouteDocument:
    """Read and check a route document; raises InvalidInput that names the field at fault.

    Example:
        >>> read_routes(b'{"format": 1, "generation": 3, "endpoints": {}}').generation
        3
    """
    try:
        version = msgspec.json.decode(data, type=_FormatOnly).format
        # Before the strict decode: a newer document's new field must be reported as a newer format, not as a typo.
        if version > FORMAT:
            raise InvalidInput(
                "newer-format",
                f"route document format {version} is newer than {FORMAT}",
                hint="upgrade Penstock on this node",
            )
        document = msgspec.json.decode(data, type=RouteDocument)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-routes", f"route document: {error}", hint="see docs/formats/routes.md") from None
    if document.format != FORMAT or document.generation < 0:
        raise InvalidInput(
            "invalid-routes", f"route document: format {document.format}, generation {document.generation}"
        )
    # An endpoint or a weight that stands twice: the parser took the last one, somebody meant the first.
    refuse_duplicate_keys(data, "invalid-routes", "route document: ")
    for name, endpoint in document.endpoints.items():
        _check_endpoint(name, endpoint)
    if sum(endpoint.default for endpoint in document.endpoints.values()) > 1:
        raise InvalidInput("invalid-routes", "more than one endpoint is the default")
    for key_id, entry in (document.access.keys if document.access is not None else {}).items():
        _check_key(key_id, entry)
    return document


class _FormatOnly(msgspec.Struct):
    format: int


def _check_endpoint(name: str, endpoint: Endpoint) -> None:
    check_name(name, "endpoint")
    versions: tuple[Arm | Shadow, ...] = (*endpoint.arms, *endpoint.shadows)
    names = [check_name(arm.name, "arm") for arm in versions]
    if not endpoint.arms or len(set(names)) != len(names):
        raise InvalidInput(
            "invalid-routes",
            f"endpoint {name!r} needs at least one arm; arms and shadows each have a name of their own",
        )
    weights = [arm.weight for arm in endpoint.arms]
    if min(weights) < 0 or sum(weights) != TOTAL_WEIGHT:
        raise InvalidInput(
            "invalid-routes", f"endpoint {name!r}: weights {weights} must be integers >= 0 that sum to {TOTAL_WEIGHT}"
        )
    for one in versions:
        _check_arm(name, one)
    problem = _routing_problem(endpoint)
    if problem:
        raise InvalidInput("invalid-routes", f"endpoint {name!r}: {problem}")
    limits = endpoint.limits
    if min(limits.deadline_ms, limits.max_wait_ms, limits.max_body_bytes, limits.max_batch_rows) <= 0:
        raise InvalidInput("invalid-routes", f"endpoint {name!r}: every limit must be greater than 0")
    for label, version in endpoint.labels.items():
        check_name(label, f"endpoint {name!r}: label")
        if version not in {arm.version for arm in endpoint.arms}:
            raise InvalidInput("invalid-routes", f"endpoint {name!r}: label {label!r} names {version[:80]!r}, no arm's")
    if not 0 <= endpoint.recording.sample <= 1:
        raise InvalidInput("invalid-routes", f"endpoint {name!r}: recording.sample is not between 0 and 1")
    # A batch of that size is run when the version is loaded: a slip of the finger must not take all memory.
    if limits.max_batch_rows > MOST_BATCH_ROWS:
        raise InvalidInput("invalid-routes", f"endpoint {name!r}: max_batch_rows is more than {MOST_BATCH_ROWS}")


def _check_key(key_id: str, entry: KeyEntry) -> None:
    check_name(key_id, "key")
    if not _DIGEST.fullmatch(entry.digest) or (entry.rate_per_s is not None and not entry.rate_per_s > 0):
        raise InvalidInput("invalid-routes", f"key {key_id!r} needs a sha256: digest, and a rate above 0 if it has one")


def _routing_problem(endpoint: Endpoint) -> str:
    """What is wrong with how the traffic is divided; "" if nothing is."""
    if len(endpoint.rules) > MOST_RULES or len(endpoint.shadows) > MOST_SHADOWS:
        return f"there are more than {MOST_RULES} rules or {MOST_SHADOWS} shadows"
    if any(not 0 < one.sample <= TOTAL_WEIGHT or one.max_pending_calls < 1 or not 0 < one.budget <= 1
           for one in endpoint.shadows):  # fmt: skip
        return "a shadow's sample (ten-thousandths), max_pending_calls or budget is out of range"
    return _buckets_problem(endpoint) or _unit_problem(endpoint) or _rules_problem(endpoint)


def _buckets_problem(endpoint: Endpoint) -> str:
    if not any(arm.buckets for arm in endpoint.arms):
        return ""
    owned = [bucket for arm in endpoint.arms for low, high in arm.buckets for bucket in (low, high)]
    if not all(0 <= bucket <= TOTAL_WEIGHT for bucket in owned):
        return "a bucket is not between 0 and 10000"
    if any(sum(high - low for low, high in arm.buckets) != arm.weight for arm in endpoint.arms):
        return "an arm's buckets are not as many as its weight"
    ranges = sorted(pair for arm in endpoint.arms for pair in arm.buckets)
    if any(low >= high for low, high in ranges) or any(b[0] != a[1] for a, b in pairwise(ranges)):
        return "the arms' buckets are not each of the 10000 once"
    return ""


def _unit_problem(endpoint: Endpoint) -> str:
    if len(endpoint.seed.encode()) > MOST_SEED_BYTES:
        return f"the seed has more than {MOST_SEED_BYTES} bytes"
    unit = endpoint.unit
    if unit is not None and [bool(unit.header), bool(unit.cookie), bool(unit.field)].count(True) != 1:
        return "the unit is one of header, cookie and field"
    named = [rule.header for rule in endpoint.rules] + ([unit.header, unit.cookie] if unit is not None else [])
    if not all(_TOKEN.fullmatch(name) for name in named if name):
        return "a name of a header or cookie has other characters than they may have"
    return ""


def _rules_problem(endpoint: Endpoint) -> str:
    if len({rule.name for rule in endpoint.rules}) != len(endpoint.rules):
        return "two rules have one name"
    arms = {arm.name for arm in endpoint.arms}
    for rule in endpoint.rules:
        check_name(rule.name, "rule")
        if rule.arm not in arms:
            return f"rule {rule.name!r} names {rule.arm[:80]!r}, which is no arm"
        if bool(rule.header) != bool(rule.values) or not (rule.values or rule.units or rule.subjects):
            return f"rule {rule.name!r} needs a header with values, units or subjects"
        # Nobody has no name: "" would take everybody who says none.
        if "" in rule.units or "" in rule.subjects:
            return f"rule {rule.name!r} names an empty unit or subject"
        if rule.units and endpoint.unit is None:
            return f"rule {rule.name!r} names units, and the endpoint has none"
    return ""


def _check_arm(endpoint: str, arm: Arm | Shadow) -> None:
    # Without a digest nothing would be verified before it is opened.
    if not _DIGEST.fullmatch(arm.bundle):
        raise InvalidInput(
            "invalid-routes", f"endpoint {endpoint!r}: bundle {arm.bundle[:80]!r} is not sha256: and 64 hex digits"
        )
    # It is sent in a header and written to the log as it stands.
    model, slash, number = arm.version.partition("/")
    for part in (model, number) if slash else (model,):
        check_name(part, f"endpoint {endpoint!r}: part of the version")


def arm_of_version(endpoint: Endpoint, version: str) -> int:
    """The index of the arm that holds `version`: a number, `model/number` or the first digits of a bundle's digest."""
    for index, arm in enumerate(endpoint.arms):
        if version in (arm.version, arm.version.rpartition("/")[2]):
            return index
    held = ", ".join(arm.version for arm in endpoint.arms)
    raise NotFound("unknown-version", f"no arm holds version {version[:80]!r}", hint=f"this endpoint holds {held}")


def version_of_label(endpoint: Endpoint, label: str) -> str:
    """The version that `label` names: one of the endpoint's labels, or an arm's name; raises NotFound."""
    named = {arm.name: arm.version for arm in endpoint.arms} | endpoint.labels
    if label in named:
        return named[label]
    raise NotFound(
        "unknown-label", f"there is no label {label[:80]!r}", hint=f"this endpoint has {', '.join(sorted(named))}"
    )
