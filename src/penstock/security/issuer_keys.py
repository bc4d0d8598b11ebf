"""The issuer's public keys: read from a file or fetched, kept, and fetched again when they may have changed.

A token whose key is unknown is what a rotation looks like, and also what an attacker can send as often as he likes: so
it makes us fetch, but not more than once in `PAUSE_S`. An issuer that is away changes nothing for keys that are known:
the last good set is used, and kept on disk for a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.security.tokens import IssuerSettings, Key, missing_extra

PAUSE_S = 30.0
_TIMEOUT_S = 5.0
_LARGEST = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SMALLEST_RSA_BITS = 2048
# What a key of each type (and curve) may verify. A symmetric key (`oct`) has no place in a set that is public.
_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}

KeySet = tuple[Key, ...]
Fetch = Callable[[], bytes]


class _Published(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_keys(data: bytes) -> KeySet:
    """The keys of a JWKS (RFC 7517) that can verify signatures, one for each algorithm that each is good for.

    Keys of other types, for encryption, too short or malformed are left out, as RFC 7517 (5) asks. Raises
    InvalidInput (`damaged-keys`) for what is no key set, or holds no key of use.
    """
    try:
        published = msgspec.json.decode(data, type=_Published).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("damaged-keys", f"the issuer's keys are no key set: {error}") from None
    found = tuple(key for jwk in published for key in _keys_of(jwk))
    if not found:
        raise InvalidInput("damaged-keys", "among the issuer's keys is none that verifies signatures")
    return found


def _keys_of(jwk: dict[str, Any]) -> list[Key]:
    try:
        import jwt
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
    kid, said, operations = jwk.get("kid"), jwk.get("alg"), jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return []
    kty, curve = jwk.get("kty"), jwk.get("crv")
    algorithms: tuple[str, ...] = ()
    if isinstance(kty, str) and isinstance(curve, str | None):
        algorithms = _ALGORITHMS.get((kty, None if kty == "RSA" else curve), ())
    # `d`: a private key. Its issuer has lost it to everybody who reads this.
    if not isinstance(kid, str | None) or "d" in jwk or not algorithms:
        return []
    found = []
    for algorithm in algorithms:
        if said in (None, algorithm):
            try:
                use = jwt.PyJWK(jwk, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                return []
            if getattr(use.key, "key_size", _SMALLEST_RSA_BITS) >= _SMALLEST_RSA_BITS or kty != "RSA":
                found.append(Key(kid, algorithm, use))
    return found


def fetch_of(settings: IssuerSettings) -> Fetch:
    """How to get the bytes at `settings.keys`; raises InvalidInput for plain HTTP beyond loopback.

    Whoever can change these bytes on their way can sign in as anybody.
    """
    parts = urlsplit(settings.keys)
    if parts.scheme not in ("http", "https"):
        path = Path(settings.keys.removeprefix("file://"))
        return path.read_bytes
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise InvalidInput("invalid-issuer", f"keys at {settings.keys}: plain HTTP beyond loopback", hint="use https")
    return lambda: _get(settings.keys)


def _get(address: str) -> bytes:
    # No redirects: they could lead to plain HTTP, or into the network that this host sees.
    with httpx.stream("GET", address, timeout=_TIMEOUT_S, follow_redirects=False) as answer:
        if answer.status_code != 200:
            raise Unavailable("issuer-unavailable", f"{address} answered {answer.status_code}")
        data = b""
        for part in answer.iter_bytes():
            data += part
            if len(data) > _LARGEST:
                raise InvalidInput("damaged-keys", f"{address} has more than {_LARGEST} bytes")
        return data


class IssuerKeys:
    """The `Keys` of one issuer, safe among threads. `kept` is where the last good set outlives a restart."""

    def __init__(self, settings: IssuerSettings, kept: Path | None = None, fetch: Fetch | None = None) -> None:
        self._age_s = settings.keys_age_s
        self._where = settings.keys
        self._kept = kept
        self._fetch = fetch if fetch is not None else fetch_of(settings)
        self._keys: KeySet = ()
        self._tried_at = self._fetched_at = float("-inf")
        self._failure: PenstockError | None = None
        self._lock = threading.Lock()

    def find(self, kid: str | None, algorithm: str, now: float) -> Key | None:
        """The key of that id for that algorithm, None if the issuer has none.

        Without an id there must be only one it can be. Raises Unavailable (`issuer-unavailable`) or InvalidInput
        (`damaged-keys`) as long as no key at all is known.
        """
        tried_at, found = self._tried_at, _choose(self._keys, kid, algorithm)
        # In both directions: a clock that went back must not stop us from ever looking again.
        if (found is None or abs(now - self._fetched_at) >= self._age_s) and abs(now - tried_at) >= PAUSE_S:
            self._refresh(now, tried_at)
            found = _choose(self._keys, kid, algorithm)
        if not self._keys and self._failure is not None:
            raise self._failure
        return found

    def _refresh(self, now: float, tried_at: float) -> None:
        """Fetch, unless another thread does; only who has no keys at all waits for it."""
        if not self._lock.acquire(blocking=not self._keys):
            return
        try:
            if self._tried_at != tried_at:
                return
            self._take(self._fetch())
            self._fetched_at, self._failure = now, None
        except (OSError, httpx.HTTPError) as error:
            self._failure = Unavailable("issuer-unavailable", f"the issuer's keys at {self._where}: {error}")
        except PenstockError as error:
            self._failure = error
        finally:
            if not self._keys:
                self._take_kept()
            # At the end: whoever has no keys must wait for this attempt, and not take it for one that is over.
            self._tried_at = now
            self._lock.release()

    def _take(self, data: bytes) -> None:
        self._keys = parse_keys(data)
        if self._kept is not None:
            partial = self._kept.with_name(f"{self._kept.name}.partial")
            partial.write_bytes(data)
            partial.replace(self._kept)

    def _take_kept(self) -> None:
        if self._kept is None:
            return
        try:
            self._keys = parse_keys(self._kept.read_bytes())
        except (OSError, InvalidInput):
            # There is none, or none of use: what is told is why the issuer's own could not be had.
            return


def _choose(keys: KeySet, kid: str | None, algorithm: str) -> Key | None:
    fitting = [key for key in keys if key.algorithm == algorithm and kid in (None, key.kid)]
    return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None
