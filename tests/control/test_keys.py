"""API keys: told once, good for what they say, ended when they are ended."""

import stat

import pytest
from tests.control.conftest import ANA, BO, ONE, spec

from penstock.core.digest import digest_of
from penstock.core.errors import Forbidden, InvalidInput, Refused, Unauthenticated, Unavailable
from penstock.core.routes import KeyEntry


def test_a_key_is_told_once_and_tells_who_holds_it(control):
    made = control.create_key("shop", "operator", identity=ANA, endpoints=("churn",), rate_per_s=5)
    who = control.identify(made.text)
    assert (who.subject, who.role, who.endpoints, who.key_id) == ("shop", "operator", ("churn",), made.key.id)
    assert control.keys(identity=ANA) == [made.key]
    assert all(made.text not in str(event) for event in control.registry(ANA).events())
    with pytest.raises(Forbidden):
        control.keys(identity=BO)
    with pytest.raises(Forbidden):
        control.create_key("eve", "admin", identity=BO)


def test_ends_of_a_key(control, clock):
    control.create_key("root", "admin", identity=ANA)
    short = control.create_key("shop", "viewer", identity=ANA, expires_in_s=60)
    gone = control.create_key("left", "viewer", identity=ANA)
    control.revoke_key(gone.key.id, identity=ANA, reason="left")
    assert control.revoke_key(gone.key.id, identity=ANA).state == "revoked"
    clock.now += 60
    for text, code in (
        (short.text, "expired-key"),
        (gone.text, "invalid-key"),
        (short.text[:-1] + ("A" if short.text[-1] != "A" else "B"), "invalid-key"),
        ("pk_none_" + "A" * 43, "invalid-key"),
        ("nonsense", "invalid-key"),
        ("", "invalid-key"),
    ):
        with pytest.raises(Unauthenticated) as caught:
            control.identify(text)
        assert caught.value.code == code
    assert {key.subject: key.state for key in control.keys(identity=ANA)} == {
        "root": "valid", "shop": "expired", "left": "revoked"
    }  # fmt: skip


def test_rotation_leaves_the_old_key_its_grace_and_no_more(control, clock):
    old = control.create_key("shop", "viewer", identity=ANA, endpoints=("churn",), expires_in_s=1000)
    new = control.rotate_key(old.key.id, identity=ANA, grace_s=10)
    assert new.key.endpoints == ("churn",) and new.key.expires_at == old.key.expires_at
    assert control.identify(old.text).subject == control.identify(new.text).subject == "shop"
    clock.now += 10
    with pytest.raises(Unauthenticated, match="expired-key"):
        control.identify(old.text)
    assert control.identify(new.text).subject == "shop"
    with pytest.raises(Refused, match="key-ended"):
        control.rotate_key(old.key.id, identity=ANA)
    shorter = control.rotate_key(new.key.id, identity=ANA, grace_s=10**6)
    assert control.keys(identity=ANA) and shorter.key.expires_at == old.key.expires_at
    clock.now += 990
    with pytest.raises(Unauthenticated):
        control.identify(new.text)


def test_the_last_admin_key_cannot_be_revoked(control, home):
    control.ensure_admin_key()
    first = control.identify((home / "admin.key").read_text().strip())
    with pytest.raises(Refused, match="last-admin-key"):
        control.revoke_key(first.key_id, identity=first)
    control.create_key("ana", "admin", identity=first)
    assert control.revoke_key(first.key_id, identity=ANA).state == "revoked"


def test_the_first_key_is_made_once_and_only_its_owner_reads_it(control, open_control, home):
    path = control.ensure_admin_key()
    assert path == home / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert control.ensure_admin_key() is None
    assert open_control().ensure_admin_key() is None
    assert control.identify(path.read_text().strip()).role == "admin"


def test_a_home_that_cannot_be_written_makes_no_key(control, home):
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where the home should be")
    with pytest.raises(Unavailable, match="cannot-write"):
        control.ensure_admin_key()
    assert control.keys(identity=ANA) == []
    home.unlink()
    assert control.ensure_admin_key() is not None


def test_nodes_learn_of_keys_by_a_new_generation(control, register):
    register(alias="champion")
    control.create_key("early", "viewer", identity=ANA)
    control.apply(spec(ONE), identity=ANA)
    assert control.routes().access is None
    control.create_key("unasked", "viewer", identity=ANA)
    assert control.routes().generation == 1, "nobody checks keys, so nobody need be told"
    control.apply(spec(ONE + "\naccess: {required: true}"), identity=ANA)
    made = control.create_key("shop", "viewer", identity=ANA, endpoints=("churn",), rate_per_s=2)
    routes = control.routes()
    assert routes.generation == 3
    assert routes.access.keys[made.key.id] == KeyEntry(
        digest=digest_of(made.text.encode()), subject="shop", endpoints=("churn",), rate_per_s=2
    )
    control.revoke_key(made.key.id, identity=ANA)
    assert control.routes().generation == 4
    assert made.key.id not in control.routes().access.keys


@pytest.mark.parametrize(
    "wish",
    [
        {"subject": " ", "role": "viewer"},
        {"subject": "a", "role": "root"},
        {"subject": "a", "role": "viewer", "endpoints": ()},
        {"subject": "a", "role": "viewer", "endpoints": ("../x",)},
        {"subject": "a", "role": "viewer", "expires_in_s": 0},
        {"subject": "a", "role": "viewer", "expires_in_s": float("nan")},
        {"subject": "a", "role": "viewer", "rate_per_s": -1},
        {"subject": "a\nb", "role": "viewer"},
    ],
)
def test_keys_that_cannot_be(control, wish):
    with pytest.raises(InvalidInput):
        control.create_key(**wish, identity=ANA)
    assert control.keys(identity=ANA) == []
