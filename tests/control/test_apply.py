"""Plan and apply: the difference, gates, agreement, and one state after another; on both databases."""

import pytest
from tests.control.conftest import ANA, BO, OLA, ONE, VIC, build_bundle, spec

from penstock.core.errors import Conflict, Forbidden, InvalidInput, NotFound, PenstockError, Refused, Unavailable
from penstock.core.names import VersionRef
from penstock.security.identity import Identity


def whats(plan):
    return {change.endpoint: change.what for change in plan.changes}


def test_a_first_apply_makes_generation_one(control, register, gates):
    register(alias="champion")
    assert control.routes().generation == 0
    plan = control.plan(spec(ONE))
    assert (whats(plan), plan.generation) == ({"churn": "created"}, 0)
    assert plan.changes[0].differences == ("arm champion: none -> churn/1 100%",)
    assert [(check.version, check.verdict) for check in plan.checks] == [("churn/1", None)]
    assert control.generation() is None, "planning changes nothing"

    heard = []
    done = control.apply(spec(ONE), identity=OLA, reason="first", tell=heard.append)
    assert (done.state, done.generation, done.error) == ("done", 1, None)
    assert [step.text for step in done.progress] == [
        "checking churn/1 for churn",
        "churn/1 for churn: pass",
        "generation 1",
    ]
    assert heard[-1] == done
    routes = control.routes()
    assert (routes.generation, routes.endpoints["churn"].arms[0].version) == (1, "churn/1")
    assert control.generation().created_by == "ola"
    assert control.spec() == spec(ONE)
    assert control.registry(ANA).verify_audit().whole
    assert len(gates.cases) == 1


def test_applying_the_same_again_changes_nothing(control, register, gates):
    register(alias="champion")
    control.apply(spec(ONE), identity=OLA)
    assert control.plan(spec(ONE)).empty
    again = control.apply(spec(ONE), identity=OLA)
    assert (again.state, again.generation) == ("done", 1)
    assert len(gates.cases) == 1, "what is served already is not judged again"


def test_changed_removed_and_unchanged_endpoints(control, register):
    register(alias="champion")
    register("fraud")
    both = "endpoints: {churn: {model: churn@champion}, fraud: {model: fraud/1}}"
    control.apply(spec(both), identity=OLA)
    register(alias="champion")
    changed = "endpoints: {churn: {model: churn@champion, limits: {deadline_ms: 20}}, fraud: {model: fraud/1}}"
    plan = control.plan(spec(changed))
    assert whats(plan) == {"churn": "changed", "fraud": "unchanged"}
    assert plan.changes[0].differences[0] == "arm champion: churn/1 100% -> churn/2 100%"
    assert "limits" in plan.changes[0].differences[1]
    control.apply(spec(changed), identity=OLA)
    removed = control.apply(spec("endpoints: {churn: {model: churn/2}}"), identity=OLA)
    assert removed.state == "done"
    status = control.status()
    assert [(one.name, one.since) for one in status.endpoints] == [("churn", 3)]
    assert [one.generation for one in control.generations()] == [3, 2, 1]
    assert [one.generation for one in control.generations(before=3, limit=1)] == [2]


def test_weights_become_ten_thousandths(control, register):
    register(alias="champion")
    register(alias="challenger")
    arms = "[{model: churn@champion, weight: 99.5}, {model: churn@challenger, weight: 0.5}]"
    text = f"endpoints: {{churn: {{arms: {arms}}}}}"
    control.apply(spec(text), identity=OLA)
    arms = control.routes().endpoints["churn"].arms
    assert [(arm.name, arm.version, arm.weight) for arm in arms] == [
        ("champion", "churn/1", 9950),
        ("challenger", "churn/2", 50),
    ]


def test_a_failed_gate_stops_everything_and_says_why(control, register, gates):
    register(alias="champion")
    control.apply(spec(ONE), identity=OLA)
    before = control.routes()
    register("fraud")
    gates.verdict = "fail"
    both = ONE[:-1] + ", fraud: {model: fraud/1}}"
    refused = control.apply(spec(both), identity=OLA)
    assert (refused.state, refused.error.code) == ("failed", "gate-failed")
    assert "fraud/1 may not serve fraud: golden: was told to fail" in refused.error.message
    assert control.routes() == before
    gates.verdict = "pass"
    again = control.apply(spec(both), identity=OLA)
    assert again.error.code == "gate-failed", "the stored report still stands"
    assert control.continue_operation(refused.id) == refused, "what has ended stays ended"


def test_the_champion_and_the_endpoint_s_own_gates_are_what_is_judged_with(control, register, gates):
    register(alias="champion")
    control.apply(spec(ONE), identity=OLA)
    register(alias="champion")
    text = "endpoints: {churn: {model: churn@champion, gates: {budget: false}, limits: {deadline_ms: 9}}}"
    control.apply(spec(text), identity=OLA)
    case = gates.cases[-1]
    assert (case.version, case.limits.deadline_ms, case.gates.budget) == ("churn/2", 9, False)
    assert case.champion.digest == control.registry(ANA).resolve("churn/1").digest


def test_without_gates_nothing_is_judged(control, register, gates):
    register(alias="champion")
    none = "gates: {schema: false, golden: false, robustness: false, budget: false}\n"
    assert control.apply(spec(none + ONE), identity=OLA).state == "done"
    assert gates.cases == []


def test_inconclusive_waits_for_somebody_who_may_override(control, register, gates):
    register(alias="champion")
    gates.verdict = "inconclusive"
    waiting = control.apply(spec(ONE), identity=OLA)
    assert (waiting.state, waiting.approval) == ("waiting-approval", 1)
    assert control.routes().generation == 0
    assert control.continue_operation(waiting.id).state == "waiting-approval"
    (asked,) = control.approvals(state="pending")
    assert asked.because == ("churn/1 for churn is inconclusive: golden: was told to inconclusive",)
    with pytest.raises(Forbidden, match="role-forbidden"):
        control.approve(1, identity=OLA)
    assert control.approve(1, identity=BO, reason="looked").state == "approved"
    assert [one.id for one in control.unfinished()] == [waiting.id]
    assert control.continue_operation(waiting.id).state == "done"
    assert control.routes().generation == 1
    with pytest.raises(Conflict, match="already-decided"):
        control.refuse(1, identity=BO)


def test_refusing_ends_the_operation(control, register, gates):
    register(alias="champion")
    gates.verdict = "inconclusive"
    waiting = control.apply(spec(ONE), identity=OLA)
    assert control.refuse(1, identity=OLA, reason="a mistake").state == "refused", "whoever asked may take it back"
    ended = control.operation(waiting.id)
    assert (ended.state, ended.error.code) == ("failed", "not-approved")
    assert control.registry(ANA).verify_audit().whole


PROTECTED = "protected_aliases: [champion]\nmodels: {churn: {aliases: {champion: %d}}}\n" + ONE


def test_a_protected_alias_needs_two_people(control, register):
    register(alias="champion")
    register()
    assert control.apply(spec(PROTECTED % 1), identity=ANA).state == "done"
    plan = control.plan(spec(PROTECTED % 2))
    assert [(move.alias, move.before, move.after, move.protected) for move in plan.aliases] == [
        ("champion", 1, 2, True)
    ]
    waiting = control.apply(spec(PROTECTED % 2), identity=ANA)
    assert waiting.state == "waiting-approval"
    with pytest.raises(Forbidden, match="approval-forbidden"):
        control.approve(waiting.approval, identity=ANA)
    with pytest.raises(Forbidden, match="approval-forbidden"):
        control.approve(waiting.approval, identity=Identity(subject=" ANA", role="admin"))
    control.approve(waiting.approval, identity=BO)
    assert control.continue_operation(waiting.id).state == "done"
    assert control.registry(ANA).aliases("churn") == {"champion": 2}
    assert control.routes().endpoints["churn"].arms[0].version == "churn/2"


def test_nobody_takes_the_protection_away_alone(control, register):
    register(alias="champion")
    register()
    control.apply(spec(PROTECTED % 1), identity=ANA)
    bare = (PROTECTED % 2).partition("\n")[2]
    waiting = control.apply(spec(bare), identity=ANA)
    asked = control.approval(waiting.approval)
    assert asked.four_eyes
    assert asked.because == ("the alias churn@champion is protected", "the alias champion loses its protection")


def test_set_alias_asks_where_it_is_protected(control, register):
    register(alias="champion")
    register()
    assert control.set_alias("churn", "challenger", 2, identity=OLA) is None
    control.apply(spec(PROTECTED % 1), identity=ANA)
    asked = control.set_alias("churn", "champion", 2, identity=OLA, reason="better")
    assert (asked.kind, asked.four_eyes) == ("alias", True)
    assert control.set_alias("churn", "champion", 2, identity=OLA).id == asked.id, "asked twice is asked once"
    assert control.registry(ANA).aliases("churn")["champion"] == 1
    control.approve(asked.id, identity=BO)
    assert control.registry(ANA).aliases("churn")["champion"] == 2
    with pytest.raises(Conflict, match="alias-moved"):
        control.set_alias("churn", "champion", 1, identity=OLA, expected=1)


def test_there_is_no_way_around_the_protection(control, register):
    register(alias="champion")
    number = register()
    control.apply(spec(PROTECTED % 1), identity=ANA)
    registry = control.registry(ANA)
    for way in (
        lambda: registry.set_alias("churn", "champion", number),
        lambda: registry.delete_alias("churn", "champion"),
        lambda: register(alias="champion"),
    ):
        with pytest.raises(Refused, match="alias-protected"):
            way()
    assert registry.aliases("churn") == {"champion": 1}
    registry.set_alias("churn", "champion", 1)
    control.apply(spec(ONE), identity=ANA)
    control.approve(1, identity=BO)
    control.continue_operation(control.unfinished()[0].id)
    registry.set_alias("churn", "champion", number)


def test_an_approval_of_a_move_is_void_when_the_alias_moved_meanwhile(control, register):
    register(alias="champion")
    register()
    register()
    control.apply(spec(PROTECTED % 1), identity=ANA)
    one = control.set_alias("churn", "champion", 2, identity=OLA)
    two = control.set_alias("churn", "champion", 3, identity=OLA)
    control.approve(two.id, identity=BO)
    with pytest.raises(Conflict, match="alias-moved"):
        control.approve(one.id, identity=BO)
    assert control.approval(one.id).state == "pending"


def test_an_apply_against_an_old_generation_is_a_conflict(control, open_control, register):
    register(alias="champion")
    plan = control.plan(spec(ONE))
    other = open_control()
    begun = other.begin_apply(
        spec(ONE + "\naccess: {required: true}"), identity=OLA, expected_generation=plan.generation
    )
    assert control.apply(spec(ONE), identity=ANA, expected_generation=plan.generation).state == "done"
    lost = other.continue_operation(begun.id)
    assert (lost.state, lost.error.code) == ("failed", "generation-moved")
    with pytest.raises(Conflict, match="generation-moved"):
        other.begin_apply(spec(ONE), identity=OLA, expected_generation=0)
    assert not control.spec().access.required


def test_an_alias_that_moves_during_an_apply_is_a_conflict(control, register):
    register(alias="champion")
    begun = control.begin_apply(spec(ONE), identity=OLA)
    register(alias="champion")
    lost = control.continue_operation(begun.id)
    assert (lost.state, lost.error.code) == ("failed", "generation-moved")


def test_a_key_made_during_an_apply_is_no_conflict(control, register):
    register(alias="champion")
    required = ONE + "\naccess: {required: true}"
    control.apply(spec(required), identity=OLA)
    begun = control.begin_apply(spec(ONE), identity=OLA)
    control.create_key("shop", "viewer", identity=ANA)
    assert control.routes().generation == 2
    assert control.continue_operation(begun.id).generation == 3


def test_an_apply_goes_on_in_another_process_after_a_crash(control, open_control, register, gates):
    register(alias="champion")

    def crash(operation):
        if len(operation.progress) == 2:
            raise KeyboardInterrupt

    begun = control.begin_apply(spec(ONE), identity=OLA)
    with pytest.raises(KeyboardInterrupt):
        control.continue_operation(begun.id, tell=crash)
    other = open_control()
    assert [one.state for one in other.unfinished()] == ["running"]
    assert other.continue_operation(begun.id).state == "done"
    assert len(gates.cases) == 1, "the report was kept"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("endpoints: {churn: {model: none}}", "unknown-model"),
        ("endpoints: {churn: {model: churn/9}}", "unknown-version"),
        ("endpoints: {churn: {model: churn@none}}", "unknown-alias"),
        ("endpoints: {churn: {model: churn/2}}", "version-retired"),
        ("models: {churn: {aliases: {champion: 9}}}", "unknown-version"),
        ("models: {churn: {bundle: none.penstock}}", "local-bundle"),
        ("models: {churn: {bundle: 'sha256:0'}}\nendpoints: {churn: {model: churn}}", "invalid-routes"),
        ("endpoints: {churn: {model: churn, limits: {deadline_ms: 0}}}", "invalid-routes"),
        ("endpoints: {churn: {model: churn, recording: {sample: 2}}}", "invalid-routes"),
        ("gates: {custom: {files: [../../etc/passwd]}}", "local-file"),
        ("gates: {custom: {files: [/etc/passwd]}}", "local-file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(control, register, text, code):
    register()
    number = register()
    control.registry(ANA).retire(VersionRef("churn", number))
    events = control.status().audit_events
    for use in (control.plan, lambda wanted: control.begin_apply(wanted, identity=OLA)):
        with pytest.raises(PenstockError) as caught:
            use(spec(text))
        assert caught.value.code == code
    assert control.status().audit_events == events


def test_a_bundle_that_nobody_registered_is_refused(control):
    named = spec(f"models: {{churn: {{bundle: 'sha256:{'0' * 64}'}}}}\nendpoints: {{churn: {{model: churn}}}}")
    with pytest.raises(NotFound, match="unknown-bundle"):
        control.begin_apply(named, identity=OLA)


def test_bundles_beside_the_file_are_registered(control, tmp_path):
    bundle = build_bundle(tmp_path, b"beside", name="churn")
    wanted = spec(f"models: {{churn: {{bundle: {bundle.directory.name}, aliases: {{champion: bundle}}}}}}\n{ONE}")
    plan = control.plan(wanted, base=tmp_path)
    assert plan.changes[0].after.arms[0].version == "churn/1"
    assert control.registry(ANA).models() == []
    assert control.apply(wanted, identity=OLA, base=tmp_path).state == "done"
    assert control.registry(ANA).resolve("churn@champion").digest == bundle.digest
    assert control.plan(wanted, base=tmp_path).empty
    with pytest.raises(NotFound, match="unknown-bundle"):
        control.plan(spec("models: {churn: {bundle: gone.penstock}}"), base=tmp_path)


@pytest.mark.parametrize(
    "who",
    [VIC, Identity(subject="eve", role="operator", endpoints=("fraud",))],
)
def test_who_may_not_apply_cannot(control, register, who):
    register(alias="champion")
    with pytest.raises(Forbidden):
        control.apply(spec(ONE), identity=who)
    with pytest.raises(Forbidden):
        control.apply(spec("access: {required: true}"), identity=who)
    assert control.operations() == []


def test_who_is_confined_may_change_his_own_endpoint(control, register):
    register(alias="champion")
    confined = Identity(subject="eve", role="operator", endpoints=("churn",))
    assert control.apply(spec(ONE), identity=confined).state == "done"
    with pytest.raises(Forbidden, match="endpoint-forbidden"):
        control.apply(spec(""), identity=Identity(subject="eve", role="operator", endpoints=("fraud",)))


def test_what_does_not_exist_is_not_found(control):
    for use, code in (
        (lambda: control.operation(9), "unknown-operation"),
        (lambda: control.approve(9, identity=ANA), "unknown-approval"),
        (lambda: control.forget_node("n", identity=ANA), "unknown-node"),
        (lambda: control.revoke_key("k", identity=ANA), "unknown-key"),
    ):
        with pytest.raises(NotFound) as caught:
            use()
        assert caught.value.code == code


def test_a_disk_that_is_full_during_a_gate_leaves_the_operation_to_be_continued(control, register, gates):
    register(alias="champion")
    begun = control.begin_apply(spec(ONE), identity=OLA)
    gates.error = Unavailable("disk-full", "no room")
    with pytest.raises(Unavailable, match="disk-full"):
        control.continue_operation(begun.id)
    assert control.operation(begun.id).state == "running"
    gates.error = None
    assert control.continue_operation(begun.id).state == "done"


def test_an_idempotency_key_answers_once(control, clock):
    assert control.remembered(ANA, "k", "sha256:a") is None
    assert control.remember(ANA, "k", "sha256:a", {"n": 1}) == {"n": 1}
    assert control.remember(ANA, "k", "sha256:a", {"n": 2}) == {"n": 1}
    assert control.remembered(ANA, "k", "sha256:a") == {"n": 1}
    assert control.remembered(BO, "k", "sha256:a") is None, "keys of two people are two keys"
    with pytest.raises(Conflict, match="idempotency-key-reused"):
        control.remembered(ANA, "k", "sha256:b")
    with pytest.raises(InvalidInput):
        control.remembered(ANA, "k\n", "sha256:b")
    clock.now += 86_401
    assert control.remembered(ANA, "k", "sha256:b") is None
    assert control.remember(ANA, "k", "sha256:b", 3) == 3
