"""The two clients are one: the same calls with the same arguments, and the same words about them."""

import inspect

import pytest
from tests.sdk.misbehaving import answer

import penstock

CALLS = sorted(name for name in vars(penstock.Client) if not name.startswith("_"))


def test_both_have_the_same_calls():
    assert sorted(name for name in vars(penstock.AsyncClient) if not name.startswith("_")) == CALLS
    assert {"predict", "infer", "models", "metadata", "ready", "live", "close"} == set(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_takes_and_gives_the_same(call):
    one, other = getattr(penstock.Client, call), getattr(penstock.AsyncClient, call)
    assert inspect.signature(one) == inspect.signature(other)
    assert inspect.iscoroutinefunction(other)


def test_both_are_made_of_the_same():
    one, other = (inspect.signature(kind).parameters for kind in (penstock.Client, penstock.AsyncClient))
    assert list(one) == list(other)
    # Where they wait, and by which library class, is all that differs.
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"http", "sleep"}


@pytest.mark.parametrize("body", [{}, [], {"inputs": 1}, {"inputs": [{}]}, {"models": "m"}])
def test_metadata_that_is_not_a_node_s_is_told_so(ask, server, body):
    for method, arguments in (("models", ()), ("predict", ("m", [{"a": 1}]))):
        with pytest.raises(penstock.Unavailable) as raised:
            ask(server.plays(answer(200, body)), method, *arguments, **({"version": "1"} if arguments else {}))
        assert raised.value.code == "unexpected-answer"
