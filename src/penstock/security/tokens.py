"""OIDC tokens: a JWT signed by the issuer that the settings name, and the identity that it stands for.

Sources: RFC 7519 (JWT), RFC 7515 (JWS), RFC 8725 (best current practices; its rules are named below by their numbers),
OpenID Connect Core 3.1.3.7. PyJWT checks the signature; the claims are checked here, against a clock that is passed in.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import msgspec

from penstock.core.errors import Forbidden, InvalidInput, Unauthenticated, Unsupported
from penstock.security.identity import ROLES, Identity, Role

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# RFC 8725, 3.1 and 3.2: signatures with a private key only. `none` and the HS family are no settings at all: with HS256
# the issuer's public key, which everybody has, would be taken for a shared secret.
_LARGEST = 16_384
# RFC 8725, 3.11: tokens of the same issuer for other uses (logout, events) have types of their own.
_TYPES = ("jwt", "at+jwt", "application/at+jwt", "application/jwt")


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are taken, and what they stand for.

    `keys` is the issuer's key set (JWKS): a file, or an https address. `roles` gives a role to values of the claim
    `role_claim` (`realm_access.roles` leads into an object); the highest one counts, and no other claim can give one.
    `endpoint_claim`, if it is set, must be in the token and confines its holder to the endpoints it lists.
    `leeway_s` is how far apart the clocks may be.
    """

    issuer: str
    audience: str
    keys: str
    roles: dict[str, Role]
    role_claim: str = "roles"
    subject_claim: str = "sub"
    endpoint_claim: str = ""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    leeway_s: float = 30
    keys_age_s: float = 3600

    def __post_init__(self) -> None:
        if not (self.issuer and self.audience and self.keys and self.algorithms):
            raise InvalidInput("invalid-issuer", "an issuer needs issuer, audience, keys and at least one algorithm")
        if not 0 <= self.leeway_s <= 300 or not 1 <= self.keys_age_s <= 86_400 * 7:
            raise InvalidInput("invalid-issuer", "leeway_s is 0 to 300, keys_age_s is 1 s to 7 days")


class Key(msgspec.Struct, frozen=True):
    """One public key of the issuer: `use` is what PyJWT verifies with, `algorithm` the only one it is good for."""

    kid: str | None
    algorithm: str
    use: Any


class Keys(Protocol):
    """Where the issuer's keys are looked up; `penstock.security.issuer_keys` has the one that fetches them."""

    def find(self, kid: str | None, algorithm: str, now: float) -> Key | None:
        """The key of that id for that algorithm, None if the issuer has none."""


class Header(msgspec.Struct, frozen=True):
    """What of a token's header is looked at: never a key that it brings along (`jwk`, `jku`, `x5u`; RFC 8725, 3.10)."""

    alg: str
    kid: str | None = None
    typ: str = "JWT"
    crit: Any = None


class Claims(msgspec.Struct, frozen=True):
    """The registered claims, typed; a token without one that has no default is refused."""

    iss: str
    aud: str | list[str]
    exp: float
    nbf: float = -math.inf
    iat: float = -math.inf


def looks_like_token(text: str) -> bool:
    """Whether a bearer's credential may be a JWT rather than an API key.

    Example:
        >>> looks_like_token("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"), looks_like_token("pk_1_x")
        (True, False)
    """
    return text.count(".") == 2 and not text.startswith("pk_")


def verify_token(text: str, settings: IssuerSettings, keys: Keys, now: float) -> Identity:
    """Whom the token stands for at `now` (seconds since 1970).

    Raises Unauthenticated (`invalid-token`), Forbidden (`role-forbidden`) for a good token that gives no role, and what
    `keys` raises when the issuer's keys cannot be had.
    """
    header = _header_of(text)
    if header.alg not in settings.algorithms:
        raise _invalid(f"signed with {header.alg[:20]!r}, which is not allowed")
    if header.typ.lower() not in _TYPES or header.crit is not None:
        raise _invalid("of another type")
    key = keys.find(header.kid, header.alg, now)
    if key is None:
        raise _invalid("signed with a key that its issuer does not have")
    payload = _verified(text, key)
    try:
        claims = msgspec.json.decode(payload, type=Claims)
        everything = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _invalid("without the claims iss, aud and exp") from None
    check_claims(claims, settings, now)
    return identity_of(everything, settings)


def check_claims(claims: Claims, settings: IssuerSettings, now: float) -> None:
    """Return if the token is from this issuer, for this audience, and valid at `now`; raises Unauthenticated."""
    if claims.iss != settings.issuer:
        raise _invalid("from another issuer")
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if settings.audience not in audiences:
        raise _invalid("for another audience")
    if now >= claims.exp + settings.leeway_s:
        raise _invalid("expired")
    if max(claims.nbf, claims.iat) > now + settings.leeway_s:
        raise _invalid("not valid yet")


def identity_of(claims: dict[str, Any], settings: IssuerSettings) -> Identity:
    """What the claims of a verified token say about its holder; raises Unauthenticated, Forbidden."""
    subject = claims.get(settings.subject_claim)
    if not isinstance(subject, str) or not subject.strip():
        raise _invalid(f"without the claim {settings.subject_claim}")
    given = [settings.roles[value] for value in _texts(claims, settings.role_claim) if value in settings.roles]
    if not given:
        raise Forbidden(
            "role-forbidden", f"nothing in the claim {settings.role_claim} of {subject[:80]} gives a role here"
        )
    endpoints = None
    if settings.endpoint_claim:
        # Absent it confines to nothing: a claim that the issuer forgot must not widen what its holder may do.
        endpoints = tuple(_texts(claims, settings.endpoint_claim))
    return Identity(subject=subject, role=max(given, key=ROLES.index), endpoints=endpoints, issuer=settings.issuer)


def _texts(claims: dict[str, Any], path: str) -> list[str]:
    """The texts at a claim: a list, or words divided by spaces as OAuth's `scope` has them."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _header_of(text: str) -> Header:
    if len(text) > _LARGEST or not text.isascii():
        raise _invalid("no token")
    try:
        # msgspec's bytes are Base64 with padding in the ordinary alphabet.
        part = text.partition(".")[0].translate({45: 43, 95: 47})
        return msgspec.json.decode(msgspec.convert(part + "=" * (-len(part) % 4), bytes), type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _invalid("no token") from None


def _verified(text: str, key: Key) -> bytes:
    """The payload, if the signature is the key's."""
    try:
        import jwt
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
    try:
        payload = jwt.PyJWS().decode(text, key.use, algorithms=[key.algorithm])
    except jwt.PyJWTError:
        raise _invalid("not signed by its issuer") from None
    return bytes(payload)


def missing_extra(error: ModuleNotFoundError) -> Unsupported:
    """The failure where the library for tokens is not installed."""
    return Unsupported("missing-extra", f"tokens need {error.name}", hint="pip install 'penstock[control]'")


def _invalid(what: str) -> Unauthenticated:
    return Unauthenticated("invalid-token", f"the token is not valid: {what}", hint="sign in again")
