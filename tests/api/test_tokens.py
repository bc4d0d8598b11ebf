"""Tokens of a real issuer at the doors of a real `penstock up`: who comes in, as whom, and what then is open."""

import hashlib
import hmac
import json
import sys
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.api.conftest import Api, Up, spec
from tests.security.issuer import AUDIENCE, ISSUER, PRIVATE, KeyServer, assembled, base64url, published, signed, token

from penstock.security.identity import ROLES

SETTINGS = {
    "issuer": ISSUER,
    "audience": AUDIENCE,
    "roles": {"ml-viewers": "viewer", "ml-operators": "operator", "ml-approvers": "approver", "ml-admins": "admin"},
}
# One door that each role may open and no lesser one.
DOORS = {
    "viewer": ("GET", "/v1/models", None),
    "operator": ("GET", "/v1/audit", None),
    "approver": ("POST", "/v1/approvals/999/refuse", {}),
    "admin": ("GET", "/v1/keys", None),
}
# Asked for again at once: the wall clock of a real process cannot be moved on by 30 s.
IMPATIENT = (
    "import sys, penstock.security.issuer_keys as keys; keys.PAUSE_S = 0.0; from penstock.cli.main import main; main()"
)


class TokenUp(Up):
    """Control that takes the tokens of an issuer."""

    def __init__(self, home, program=("-m", "penstock"), **settings):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = home / "issuer.json"
        file.write_text(json.dumps({**SETTINGS, **settings}))
        super().__init__(home / "h", "", "--no-node", "--issuer", str(file))
        self.program = program

    def command(self):
        _, _, _, *arguments = super().command()
        return [sys.executable, *self.program, *arguments]

    def as_token(self, text):
        return Api(self.port, text)


@pytest.fixture(scope="module")
def issuer():
    server = KeyServer(published("rsa", "ec", "ed"))
    yield server
    server.close()


def running(up):
    yield up.start()
    assert not up.events("internal-error")
    up.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory, issuer):
    yield from running(
        TokenUp(tmp_path_factory.mktemp("up"), keys=issuer.address, algorithms=["RS256", "ES256", "EdDSA"])
    )


@pytest.fixture(scope="module")
def confining(tmp_path_factory, issuer):
    settings = {"role_claim": "realm_access.roles", "subject_claim": "email", "endpoint_claim": "endpoints"}
    yield from running(TokenUp(tmp_path_factory.mktemp("confining"), keys=issuer.address, **settings))


def fresh(kid="rsa", **changes):
    now = time.time()
    return token(kid, **{"iat": now, "exp": now + 600, **changes})


def claims_now(**changes):
    now = time.time()
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "eve",
        "exp": now + 600,
        "iat": now,
        "roles": ["ml-admins"],
        **changes,
    }


def public_pem():
    return PRIVATE["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_with_public_key(algorithm):
    """The oldest trick: the public key, which everybody has, as the secret of a symmetric signature."""
    text = assembled({"alg": algorithm, "typ": "JWT", "kid": "rsa"}, claims_now()).rstrip(".")
    hashed = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
    return f"{text}.{base64url(hmac.new(public_pem(), text.encode(), hashed).digest())}"


def code(up, text, method="GET", path="/v1/models", body=None):
    status, _, answer = up.as_token(text).request(method, path, body)
    return status, None if status < 400 else answer["code"]


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_good_token_comes_in(up, kid):
    assert code(up, fresh(kid)) == (200, None)
    assert code(up, fresh(kid, aud=["another", AUDIENCE])) == (200, None)


def test_what_the_forged_ones_are_made_with_makes_good_ones_too(up):
    assert code(up, signed(claims_now())) == (200, None)
    assert code(up, signed(claims_now(), typ="at+jwt")) == (200, None)


FORGED = {
    "another audience": lambda: fresh(aud="another"),
    "audiences without ours": lambda: fresh(aud=["another", "third"]),
    "no audience": lambda: fresh(aud=...),
    "another issuer": lambda: fresh(iss="https://evil.example"),
    "the issuer with a slash": lambda: fresh(iss=ISSUER + "/"),
    "no issuer": lambda: fresh(iss=...),
    "expired": lambda: fresh(exp=time.time() - 60),
    "no expiry": lambda: fresh(exp=...),
    "not valid yet": lambda: fresh(nbf=time.time() + 600),
    "issued in the future": lambda: fresh(iat=time.time() + 600),
    "no subject": lambda: fresh(sub=...),
    "an empty subject": lambda: fresh(sub=" "),
    "unknown kid": lambda: fresh(header={"kid": "nobody"}),
    "a stranger's key under a known kid": lambda: fresh("other", header={"kid": "rsa"}),
    "another key's kid": lambda: fresh("ec", header={"kid": "ed"}),
    "none": lambda: assembled({"alg": "none", "kid": "rsa"}, claims_now()),
    "None": lambda: assembled({"alg": "None", "kid": "rsa"}, claims_now()),
    "HS256 with the public key": lambda: hmac_with_public_key("HS256"),
    "HS512 with the public key": lambda: hmac_with_public_key("HS512"),
    "an algorithm that is not allowed": lambda: fresh(algorithm="RS512"),
    "no signature": lambda: fresh().rpartition(".")[0] + ".",
    "changed claims": lambda: ".".join(
        [fresh().split(".")[0], base64url(json.dumps(claims_now()).encode()), fresh().split(".")[2]]
    ),
    "a key of its own": lambda: fresh("other", header={"jwk": json.loads(published("other"))["keys"][0]}),
    "an address of keys of its own": lambda: fresh("other", header={"jku": "https://evil.example/keys"}),
    "a critical extension": lambda: signed(claims_now(), crit=["exp"]),
    "another type": lambda: signed(claims_now(), typ="logout+jwt"),
    "no JSON": lambda: signed(b"\xff{"),
    "nonsense": lambda: "a.b.c",
    "too long": lambda: fresh(sub="x" * 20_000),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_token_that_is_not_good_opens_nothing(up, kind):
    # One door, and not all: an address that guesses a hundred times is told to wait.
    assert code(up, FORGED[kind]()) == (401, "invalid-token")


def test_who_is_guessing_does_not_keep_a_good_token_out(tmp_path, issuer):
    up = TokenUp(tmp_path, keys=issuer.address).start()
    try:
        said = [code(up, FORGED["unknown kid"]()) for _ in range(250)]
        assert said[0] == (401, "invalid-token") and (429, "too-many-failures") in said
        assert code(up, fresh()) == (200, None)
    finally:
        up.close()


def test_unknown_keys_do_not_make_control_ask_the_issuer_each_time(up, issuer):
    assert code(up, fresh())[0] == 200
    asked = issuer.asked
    for number in range(20):
        assert code(up, fresh(header={"kid": f"unknown-{number}"}))[0] == 401
    assert issuer.asked - asked <= 1


@pytest.mark.parametrize("role", ROLES)
def test_the_claim_gives_the_role_and_no_more(up, role):
    text = fresh(roles=[f"ml-{role}s", "something else"], sub=f"the-{role}")
    for other, (method, path, body) in DOORS.items():
        status, said = code(up, text, method, path, body)
        if ROLES.index(role) >= ROLES.index(other):
            assert (status, said) in ((200, None), (404, "unknown-approval"))
        else:
            assert (status, said) == (403, "role-forbidden")


@pytest.mark.parametrize(
    "more",
    [
        {"roles": ["admin"]},  # our word, not the issuer's
        {"roles": ["ML-ADMINS"]}, {"roles": [["ml-admins"]]}, {"roles": {"ml-admins": True}}, {"roles": []},
        {"roles": ...}, {"roles": ["ml-viewers,ml-admins"]}, {"roles": None}, {"roles": 1},
        {"roles": [], "role": "admin", "groups": ["ml-admins"], "scope": "ml-admins"},
        {"roles": [], "realm_access": {"roles": ["ml-admins"]}},
    ],
)  # fmt: skip
def test_nothing_but_the_claim_gives_a_role(up, more):
    assert code(up, fresh(**more)) == (403, "role-forbidden")


def test_a_viewer_s_token_cannot_make_itself_more(up):
    viewer = fresh(roles=["ml-viewers"], role="admin", endpoints=["*"])
    for method, path, body in [
        ("POST", "/v1/keys", {"subject": "eve", "role": "admin"}), ("POST", "/v1/apply", spec()),
        ("PATCH", "/v1/models/sum/versions/1", {}), ("PUT", "/v1/models/sum/aliases/a", {"version": 1}),
        ("POST", "/v1/approvals/1/approve", {}), ("DELETE", "/v1/nodes/local", None),
        ("POST", "/v1/nodes/local/report", {}), ("GET", "/v1/nodes/local/routes?after=0", None),
    ]:  # fmt: skip
        assert code(up, viewer, method, path, body) == (403, "role-forbidden"), path


def test_an_operator_s_deeds_stand_in_the_log_under_the_subject(up, archives):
    operator = up.as_token(fresh(sub="ana", roles=["ml-operators"]))
    operator.register("sum", archives[0])
    assert "ana" in [event["actor"] for event in operator.get("/v1/audit")["items"]]
    # And the key that it asks for is not made: that is an admin's.
    assert operator.request("POST", "/v1/keys", {"subject": "ana", "role": "viewer"})[0] == 403


def grant(*endpoints, role="ml-operators"):
    return fresh(email="eve@example", realm_access={"roles": [role]}, endpoints=list(endpoints))


def test_a_token_is_for_the_endpoints_of_its_claim(confining, archives):
    up = confining
    admin = up.api
    admin.register("sum", archives[0])
    admin.apply(spec(one="sum/1", two="sum/1"))
    assert code(up, grant("one")) == (200, None)
    # What changes its own endpoint alone, it may; what touches another one, adds or takes one away, not.
    assert (
        code(
            up,
            grant("one"),
            "POST",
            "/v1/apply",
            spec(one={"model": "sum/1", "limits": {"deadline_ms": 900}}, two="sum/1"),
        )[0]
        == 202
    )
    for endpoints in ({"one": "sum/1"}, {}, {"one": "sum/1", "two": {"model": "sum/1", "limits": {"deadline_ms": 900}}},
                      {"one": "sum/1", "two": "sum/1", "three": "sum/1"}):  # fmt: skip
        assert code(up, grant("one"), "POST", "/v1/apply", spec(**endpoints)) == (403, "endpoint-forbidden"), endpoints
    # All endpoints at once are nobody's who is confined, be he an admin.
    assert code(up, grant("one", role="ml-admins"), "GET", "/v1/keys") == (403, "endpoint-forbidden")
    assert code(up, grant("one", role="ml-admins"), "GET", "/v1/audit") == (403, "endpoint-forbidden")


@pytest.mark.parametrize("claim", [..., [], "", ["*"], "ONE", {"one": True}, [1], None])
def test_without_its_endpoint_in_the_claim_a_token_changes_nothing(confining, claim):
    text = fresh(email="eve@example", realm_access={"roles": ["ml-operators"]}, endpoints=claim)
    assert code(confining, text, "POST", "/v1/apply", spec()) == (403, "endpoint-forbidden")


def test_roles_stand_where_the_settings_say(confining):
    assert code(confining, fresh(email="eve@example", roles=["ml-admins"])) == (403, "role-forbidden")
    assert code(confining, fresh(email=..., realm_access={"roles": ["ml-admins"]})) == (401, "invalid-token")


def test_a_rotated_key_is_learnt_and_the_old_one_forgotten(tmp_path):
    issuer = KeyServer(published("rsa"))
    up = TokenUp(tmp_path, ("-c", IMPATIENT), keys=issuer.address).start()
    try:
        assert code(up, fresh("rsa")) == (200, None)
        assert code(up, fresh("ec")) == (401, "invalid-token")
        # The issuer publishes a second one, signs with it, and takes the first one back.
        issuer.data = published("rsa", "ec")
        assert [code(up, fresh(kid))[0] for kid in ("ec", "rsa")] == [200, 200]
        issuer.data = published("ec")
        assert code(up, fresh("ed")) == (401, "invalid-token")  # makes it look
        assert [code(up, fresh(kid))[0] for kid in ("ec", "rsa")] == [200, 401]
        # Away, it changes nothing; damaged neither; nor after a restart, from what was kept.
        issuer.status = 500
        assert [code(up, fresh(kid))[0] for kid in ("ed", "ec", "rsa")] == [401, 200, 401]
        issuer.status, issuer.data = 200, b"{}"
        assert [code(up, fresh(kid))[0] for kid in ("ed", "ec")] == [401, 200]
        up.kill()
        up.start()
        assert [code(up, fresh(kid))[0] for kid in ("ec", "rsa")] == [200, 401]
    finally:
        up.close()
        issuer.close()


def test_without_any_keys_of_the_issuer_tokens_wait_and_keys_work(tmp_path):
    issuer = KeyServer(b"nothing")
    issuer.status = 503
    up = TokenUp(tmp_path, ("-c", IMPATIENT), keys=issuer.address).start()
    try:
        assert code(up, fresh()) == (503, "issuer-unavailable")
        up.api.get("/v1/keys")
        issuer.status, issuer.data = 200, published("rsa")
        assert code(up, fresh()) == (200, None)
    finally:
        up.close()
        issuer.close()


def test_control_without_an_issuer_takes_no_token(make_up):
    up = make_up("", "--no-node").start()
    status, _, answer = Api(up.port, fresh()).request("GET", "/v1/models")
    assert (status, answer["code"]) == (401, "invalid-key")
