"""What could not be loaded is tried again by itself, less and less often."""

import shutil

import msgspec
from tests.registry.conftest import Clock
from tests.serving.nodes import arm, document, summing_body, until
from tests.serving.test_swap import SUM, only, value

from penstock.core.routes import Endpoint
from penstock.serving.again import FIRST_S, MOST_S, Again


def test_it_is_due_after_longer_and_longer_pauses():
    clock = Clock()
    again, one = Again(clock), document(1)
    assert again.due() is None
    pauses = []
    for _ in range(10):
        again.note(one, {"sum": "the store is away"})
        began = clock.now
        while again.due() is None:
            clock.now += 1
        assert again.due() is one
        pauses.append(clock.now - began)
    assert pauses[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert pauses[-3:] == [MOST_S] * 3


def test_another_document_begins_anew_and_a_whole_one_ends_it():
    clock = Clock()
    again, one, two = Again(clock), document(1), document(2)
    for _ in range(5):
        again.note(one, {"sum": "why"})
    again.note(two, {"sum": "why"})
    clock.now += FIRST_S
    assert again.due() is two
    again.note(two, {})
    clock.now += 10 * MOST_S
    assert again.due() is None


def test_a_bundle_that_comes_late_is_served_without_another_document(make_node, summing_1, summing_2, tmp_path):
    # Given a version whose bundle is not where the routes say, beside one that is served
    late = tmp_path / "late"
    late.mkdir()
    away = shutil.move(shutil.copytree(summing_2.directory, late / "here"), late / "away")
    node = make_node()
    node.publish(document(1, sum=only(summing_1, 1)))
    node.start()
    one = value(node)
    arm_late = msgspec.structs.replace(arm(summing_2, 2), uri=str(late / "here"))
    routes = document(2, sum=only(summing_1, 1), late=Endpoint(arms=(arm_late,)))
    node.publish(routes)
    node.until_event("load-refused", endpoint="late")
    # When it comes
    shutil.move(away, late / "here")
    # Then it is served by itself, and the other one was never touched
    until(lambda: node.post(SUM.replace("sum", "late"), summing_body())[0] == 200)
    assert value(node) == one
    assert not node.events("version-freed")
