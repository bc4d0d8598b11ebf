"""Roles and approvals: the whole table, and every way around it."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.docs.test_errors import raised

from penstock.core.errors import Forbidden
from penstock.security.approvals import ApprovalRequest, check_approval, may_approve, needs_approval
from penstock.security.identity import ROLES, Identity, Role
from penstock.security.permissions import LEAST_ROLE, Action, allow

TABLE = {
    "viewer": {"read", "predict", "outcomes"},
    "operator": {"register", "check", "apply", "records", "audit"},
    "approver": {"approve", "override"},
    "admin": {"manage-keys", "backup"},
}
roles, actions = st.sampled_from(ROLES), st.sampled_from(sorted(LEAST_ROLE))
names = st.sampled_from(["", "churn", "fraud", "chur", "churn "])
endpoints = st.none() | st.lists(st.sampled_from(["churn", "fraud"]), max_size=2).map(tuple)


def may(identity, action, endpoint=""):
    try:
        allow(identity, action, endpoint)
    except Forbidden as error:
        assert error.code in ("role-forbidden", "endpoint-forbidden")
        return False
    return True


def test_the_table_is_whole():
    assert set(LEAST_ROLE) == set(get_args(Action)) == set().union(*TABLE.values())
    assert get_args(Role) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_the_table_says_and_what_those_before_it_may(role):
    allowed = set().union(*(TABLE[lower] for lower in ROLES[: ROLES.index(role) + 1]))
    identity = Identity(subject="ana", role=role)
    assert {action for action in LEAST_ROLE if may(identity, action, "churn")} == allowed
    assert {action for action in LEAST_ROLE if may(identity, action)} == allowed


@given(role=roles, granted=endpoints, action=actions, endpoint=names)
def test_being_confined_only_ever_takes_away(role, granted, action, endpoint):
    free, confined = Identity(subject="a", role=role), Identity(subject="a", role=role, endpoints=granted)
    if may(confined, action, endpoint):
        assert may(free, action, endpoint)
        assert granted is None or endpoint in granted or (not endpoint and action in {"read", "register", "check"})


def test_a_confined_admin_manages_no_keys():
    confined = Identity(subject="ana", role="admin", endpoints=("churn",))
    for action in ("manage-keys", "backup", "audit", "apply", "records"):
        assert not may(confined, action)
    assert may(confined, "apply", "churn")
    assert not may(Identity(subject="ana", role="admin", endpoints=()), "apply", "churn")


def test_an_unknown_role_or_action_is_no_role_or_action():
    with pytest.raises(ValueError, match="not in tuple"):
        allow(Identity(subject="ana", role="root"), "read")
    with pytest.raises(KeyError):
        allow(Identity(subject="ana", role="admin"), "everything")


def test_codes_of_this_kind_end_alike_so_that_the_client_can_tell_them_from_refusals():
    codes, _ = raised()
    assert {code for code, kinds in codes.items() if "forbidden" in kinds} == {
        code for code in codes if code.endswith("-forbidden")
    }


def test_protected_aliases_need_approval():
    assert needs_approval("champion", {"champion"})
    assert not needs_approval("Champion2", {"champion"})
    assert not needs_approval("champion", ())


@pytest.mark.parametrize("same", ["ana", "ANA", " Ana "])
@pytest.mark.parametrize("proof", [{"key_id": "2"}, {"issuer": "https://login.example"}, {}])
def test_nobody_approves_what_he_asked_for_whatever_proves_who_he_is(same, proof):
    request = ApprovalRequest(alias="champion", requester=Identity(subject="ana", role="operator", key_id="1"))
    with pytest.raises(Forbidden) as refused:
        check_approval(request, Identity(subject=same, role="admin", **proof))
    assert refused.value.code == "approval-forbidden"


@given(asker=roles, approver=roles, granted=endpoints, endpoint=st.sampled_from(["", "churn"]))
def test_approving_takes_two_people_and_the_role(asker, approver, granted, endpoint):
    request = ApprovalRequest(alias="champion", requester=Identity(subject="ana", role=asker), endpoint=endpoint)
    other = Identity(subject="bo", role=approver, endpoints=granted)
    assert may_approve(request, other) == (
        approver in ("approver", "admin") and (granted is None or endpoint in granted)
    )
    assert not may_approve(request, Identity(subject="ana", role=approver))
