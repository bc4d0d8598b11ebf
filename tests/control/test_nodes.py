"""Nodes: what they were told, what they say, and whether all of them serve it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.control.conftest import ANA, ONE, spec

from penstock.control.nodes import AWAY_S, convergence
from penstock.control.records import NodeRecord, NodeReport
from penstock.core.errors import InvalidInput


def report(generation, **more):
    return NodeReport(generation=generation, digest="", state="serving", address="http://127.0.0.1:8080", **more)


@pytest.fixture
def applied(control, register):
    register(alias="champion")
    control.apply(spec(ONE), identity=ANA)
    return control


def test_a_node_that_has_the_document_is_told_nothing(applied):
    document = applied.routes_after(-1)
    assert document == applied.routes()
    assert applied.routes_after(document.generation, document.digest()) is None
    assert applied.routes_after(document.generation, "sha256:other") == document
    assert applied.routes_after(0, "") == document


def test_convergence_names_who_serves_who_is_behind_and_what_could_not_be_loaded(applied, clock):
    def report(generation, **more):
        return NodeReport(**{"generation": generation, "digest": applied.routes().digest(), "state": "serving", **more})

    assert not applied.converged(1).done, "no node is no success"
    applied.acknowledge("a", report(1))
    applied.acknowledge("b", report(0))
    found = applied.converged(1)
    assert (found.serving, found.behind, found.done) == (("a",), ("b",), False)
    applied.acknowledge("b", report(1, problems={"churn": "its golden rows differ"}))
    found = applied.converged(1)
    assert (found.serving, found.refused, found.behind) == (("a",), ("b",), ())
    assert (found.problems, found.done) == ({"b": {"churn": "its golden rows differ"}}, False)
    applied.acknowledge("b", report(1, state="refused"))
    assert applied.converged(1).problems == {"b": {"*": "it says that it is refused"}}
    applied.acknowledge("b", report(0, state="refused", problems={"*": "an older generation"}))
    assert applied.converged(1).refused == ("b",), "it will not take the document"
    applied.acknowledge("b", report(0, state="refused", problems={"churn": "of the generation before"}))
    assert (applied.converged(1).behind, applied.converged(1).problems) == (("b",), {}), "it has not tried yet"
    applied.acknowledge("b", report(1, digest="sha256:other"))
    assert applied.converged(1).behind == ("b",), "another document of this generation is not this one"
    applied.acknowledge("b", report(1))
    assert applied.converged(1).done
    applied.acknowledge("b", report(1, ready=False))
    assert applied.converged(1).behind == ("b",)
    clock.now += AWAY_S + 1
    applied.acknowledge("a", report(1))
    found = applied.converged(1)
    assert (found.away, found.done) == (("b",), True), "one that is gone holds nobody up"
    applied.forget_node("b", identity=ANA)
    assert [node.name for node in applied.nodes()] == ["a"]


def test_only_that_a_node_joined_is_in_the_audit_log(applied):
    before = applied.status().audit_events
    for _ in range(5):
        applied.acknowledge("a", report(1))
    assert applied.status().audit_events == before + 1


def test_a_node_from_before_a_restore_is_overtaken(applied):
    applied.acknowledge("a", report(41))
    routes = applied.routes()
    assert routes.generation == 42
    assert routes.endpoints["churn"].arms[0].version == "churn/1"
    applied.acknowledge("a", report(42))
    assert applied.routes().generation == 42
    assert (
        applied.apply(spec(ONE + "\naccess: {required: true}"), identity=ANA, expected_generation=42).generation == 43
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../a", report(1)),
        ("a", report(-1)),
        ("a", report(2**60)),
        ("a", report(1, processes=-1)),
        ("a", report(1, problems={str(n): "" for n in range(1001)})),
    ],
)
def test_what_no_node_can_say_is_refused(applied, name, said):
    with pytest.raises(InvalidInput):
        applied.acknowledge(name, said)
    assert applied.nodes() == []


def test_what_a_node_says_is_made_fit_to_be_shown(applied):
    applied.acknowledge("a", report(1, problems={"churn": "\x1b[2J\x00" + "x" * 10_000}))
    (node,) = applied.nodes()
    assert node.problems["churn"].isprintable() and len(node.problems["churn"]) == 4096


nodes = st.builds(
    NodeRecord,
    name=st.sampled_from("abcdef"),
    generation=st.integers(0, 3),
    digest=st.just(""),
    state=st.sampled_from(["serving", "refused"]),
    problems=st.dictionaries(st.just("churn"), st.just("why")),
    address=st.just(""),
    processes=st.just(1),
    ready=st.booleans(),
    seen_at=st.just(""),
    current=st.booleans(),
    diverged=st.booleans(),
    away=st.booleans(),
)


@given(st.lists(nodes, unique_by=lambda node: node.name), st.integers(0, 3))
def test_every_node_is_in_exactly_one_part(found, generation):
    parts = convergence(generation, found)
    assert sorted([*parts.serving, *parts.refused, *parts.behind, *parts.away]) == sorted(node.name for node in found)
    if parts.done:
        assert all(node.away or (node.generation >= generation and not node.problems) for node in found)
    for node in found:
        if node.name in parts.serving:
            assert node.ready and node.state == "serving" and not node.problems and not node.diverged
