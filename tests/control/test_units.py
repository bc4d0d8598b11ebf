"""How traffic is divided, from the spec to what nodes are told."""

import pytest
from tests.control.conftest import ANA, spec

from penstock.core.errors import InvalidInput


def test_units_seeds_and_rules_reach_the_nodes_and_stay_with_who_has_them(control, register):
    for alias in ("champion", "challenger"):
        register(alias=alias)
    text = """endpoints:
  churn:
    arms: [{model: churn@champion, weight: 90}, {model: churn@challenger, weight: 10}]
    unit: {header: x-user}
    seed: spring
    rules: [{name: inside, arm: challenger, header: x-group, values: [staff]}]
access: {required: true}
"""
    made = control.create_key("ola", "operator", identity=ANA), control.create_key("shop", "viewer", identity=ANA)
    control.apply(spec(text), identity=ANA)
    routes = control.routes()
    endpoint = routes.endpoints["churn"]
    assert (endpoint.unit.header, endpoint.seed, endpoint.rules[0].arm) == ("x-user", "spring", "challenger")
    assert [routes.access.keys[one.key.id].overrides for one in made] == [True, False]
    # And what no node could obey is refused before anybody is told
    with pytest.raises(InvalidInput) as refused:
        control.plan(spec(text.replace("arm: challenger", "arm: nobody")))
    assert refused.value.code == "invalid-routes" and "nobody" in str(refused.value)
