"""Tokens: every way one can be wrong, each refused with a reason that helps its holder and nobody else."""

import hashlib
import hmac
import json

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from tests.security.issuer import (
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    NOW,
    PRIVATE,
    assembled,
    base64url,
    claims,
    published,
    signed,
    token,
)

from penstock.core.errors import Forbidden, InvalidInput, PenstockError, Unauthenticated
from penstock.security.identity import Identity
from penstock.security.issuer_keys import IssuerKeys
from penstock.security.tokens import IssuerSettings, looks_like_token, verify_token

ROLES = {"ml-admins": "admin", "ml-team": "operator", "staff": "viewer"}


def settings(**changes):
    return IssuerSettings(**{"issuer": ISSUER, "audience": AUDIENCE, "keys": "unused", "roles": ROLES, **changes})


def keys_of(data):
    return IssuerKeys(settings(), fetch=lambda: data)


KEYS = keys_of(published("rsa", "ec", "ed"))


def verify(text, now=NOW, keys=KEYS, **changes):
    return verify_token(text, settings(**changes), keys, now)


def reason(text, now=NOW, keys=KEYS, **changes):
    with pytest.raises(Unauthenticated) as refused:
        verify(text, now, keys, **changes)
    assert refused.value.code == "invalid-token"
    return refused.value.message


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_good_token_is_an_identity(kid):
    assert verify(token(kid)) == Identity(subject="ana", role="admin", issuer=ISSUER)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "other"}, "another audience"),
        ({"aud": ["a", "b"]}, "another audience"),
        ({"aud": AUDIENCE + "2"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": ...}, "without the claims"),
        ({"aud": {"penstock": 1}}, "without the claims"),
        ({"iss": "https://login.example.evil"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": ...}, "without the claims"),
        ({"exp": NOW - 31}, "expired"),
        ({"exp": ...}, "without the claims"),
        ({"exp": "2099-01-01"}, "without the claims"),
        ({"exp": True}, "without the claims"),
        ({"exp": None}, "without the claims"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"sub": ...}, "without the claim sub"),
        ({"sub": " "}, "without the claim sub"),
    ],
)
def test_a_wrong_claim_is_refused(changes, why):
    assert why in reason(signed(claims(**changes)))


@pytest.mark.parametrize("payload", [claims(exp=float("inf")), [], "text", b"{", b"\xff", b"[" * 9999])
def test_a_payload_that_is_none_is_refused(payload):
    assert "without the claims" in reason(signed(payload))


def test_clocks_may_be_a_little_apart_and_no_more():
    text = token(exp=NOW + 100, nbf=NOW, iat=NOW)
    assert [verify(text, now).subject for now in (NOW - 30, NOW, NOW + 129)] == ["ana"] * 3
    assert "expired" in reason(text, NOW + 130)
    assert "not valid yet" in reason(text, NOW - 31)
    # The clock jumps and comes back.
    assert verify(text, NOW + 50).subject == "ana"
    assert "expired" in reason(text, NOW + 100, leeway_s=0)


def public_pem(kid):
    return (
        PRIVATE[kid]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_a_token_without_signature_is_refused(algorithm, signature):
    assert "not allowed" in reason(assembled({"alg": algorithm, "kid": "rsa"}, claims(), signature))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", ["pem", "jwk"])
def test_the_public_key_is_no_shared_secret(algorithm, secret):
    known = public_pem("rsa") if secret == "pem" else published("rsa")
    unsigned = assembled({"alg": algorithm, "kid": "rsa"}, claims()).rstrip(".")
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    text = f"{unsigned}.{base64url(hmac.new(known, unsigned.encode(), digest).digest())}"
    assert "not allowed" in reason(text)
    # No settings let it in.
    given = {"issuer": "i", "audience": "a", "keys": "k", "roles": {}, "algorithms": [algorithm]}
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value"):
        msgspec.convert(given, IssuerSettings)


def test_an_algorithm_must_be_that_of_the_key():
    # A good signature of the right key, by an algorithm that the key is not published for.
    assert "does not have" in reason(token("rsa", algorithm="RS512"), algorithms=("RS256", "RS512"))
    assert "not allowed" in reason(token("rsa", algorithm="PS256"))
    assert "does not have" in reason(token("ec", header={"kid": "rsa"}))
    (key,) = json.loads(published("rsa"))["keys"]
    del key["alg"]
    free = keys_of(json.dumps({"keys": [key]}))
    assert verify(token("rsa", algorithm="PS384"), keys=free, algorithms=("PS384",)).subject == "ana"


def test_a_key_the_issuer_does_not_have_is_refused():
    assert "does not have" in reason(token("other"))
    assert "not signed" in reason(token("other", header={"kid": "rsa"}))
    # The token brings its own key.
    own = json.loads(published("other"))["keys"][0]
    assert "does not have" in reason(token("other", header={"jwk": own, "jku": "http://127.0.0.1/keys"}))
    assert "not signed" in reason(token("other", header={"kid": "rsa", "jwk": own}))


def test_without_an_id_there_must_be_one_key_it_can_be():
    text = signed(claims(), kid=...)
    assert verify(text).subject == "ana"
    twice = json.dumps({"keys": json.loads(published("ed"))["keys"] * 2}).encode()
    assert "does not have" in reason(text, keys=keys_of(twice))


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"typ": "logout+jwt"}, {"typ": "JOSE"}]
)
def test_extensions_and_other_types_are_refused(header):
    assert "another type" in reason(signed(claims(), **header))


def test_a_changed_token_is_refused():
    head, payload, signature = token("rsa").split(".")
    promoted = base64url(json.dumps(claims(sub="eve")).encode())
    for text in (f"{head}.{promoted}.{signature}", f"{head}.{payload}.", f"{head}.{payload}.{signature[:-8]}AAAAAAAA",
                 f"{head}.{payload}", f"{head}.{payload}.{signature}.x"):  # fmt: skip
        assert reason(text)


@given(st.text(max_size=200) | st.builds(lambda a, b, c: f"{a}.{b}.{c}", *[st.from_regex("[A-Za-z0-9_-]{0,40}")] * 3))
def test_garbage_is_refused_as_such(text):
    assert reason(text)


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"null", b"{", b'{"alg": 1}', b'{"alg": null}', b'{"kid": "rsa"}', b'{"alg": "RS256", "kid": 7}',
     b'{"alg": "RS256", "kid": ["rsa"]}', b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000],
)  # fmt: skip
def test_a_damaged_header_is_refused(header):
    assert "no token" in reason(assembled(header, claims(), b"x"))


def test_a_token_is_not_read_beyond_its_limit():
    assert "no token" in reason(token("rsa", pad="x" * 20_000))
    assert "no token" in reason("\xe9.e30.c2ln")


@pytest.mark.parametrize(
    ("changes", "rules", "role"),
    [
        ({"roles": ["staff", "ml-team"]}, {}, "operator"),
        ({"roles": "staff ml-team"}, {}, "operator"),
        ({"roles": ["unknown", "staff"]}, {}, "viewer"),
        ({"roles": ..., "realm_access": {"roles": ["staff"]}}, {"role_claim": "realm_access.roles"}, "viewer"),
        ({"https://x.example/roles": ["ml-admins"]}, {"role_claim": "https://x.example/roles"}, "admin"),
    ],
)
def test_roles_come_from_the_configured_claim(changes, rules, role):
    assert verify(token(**changes), **rules).role == role


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": ["admin"]},  # a role's own name gives nothing: only the mapping does
        {"roles": []}, {"roles": ...}, {"roles": None}, {"roles": {"ml-admins": True}}, {"roles": [["ml-admins"]]},
        {"roles": ["ML-ADMINS"]}, {"roles": ["ml-admins "]}, {"roles": "ml-admins,staff"}, {"roles": 1},
        {"roles": ..., "role": "ml-admins", "groups": ["ml-admins"], "scope": "ml-admins"},
    ],
)  # fmt: skip
def test_nothing_else_gives_a_role(changes):
    with pytest.raises(Forbidden) as refused:
        verify(token(**changes))
    assert refused.value.code == "role-forbidden"


def test_endpoints_come_from_their_claim_and_none_without_it():
    rules = {"endpoint_claim": "endpoints"}
    assert verify(token(endpoints=["churn", 7]), **rules).endpoints == ("churn",)
    assert verify(token(), **rules).endpoints == ()
    assert verify(token(endpoints=["churn"])).endpoints is None


@pytest.mark.parametrize(
    "changes",
    [{"issuer": ""}, {"audience": ""}, {"algorithms": ()}, {"leeway_s": -1}, {"leeway_s": 1e9}, {"keys_age_s": 0},
     {"keys_age_s": float("nan")}, {"leeway_s": float("nan")}],
)  # fmt: skip
def test_settings_that_check_nothing_are_refused(changes):
    with pytest.raises(InvalidInput) as refused:
        settings(**changes)
    assert refused.value.code == "invalid-issuer"


def test_no_refusal_repeats_the_token():
    for kid in ALGORITHM:
        text = token(kid, aud="other")
        with pytest.raises(PenstockError) as refused:
            verify(text)
        assert not any(part in str(refused.value) for part in text.split("."))


def test_a_token_is_told_from_a_key():
    assert looks_like_token(token())
    assert not looks_like_token("pk_1_a.b.c")
    assert not looks_like_token("Basic")
