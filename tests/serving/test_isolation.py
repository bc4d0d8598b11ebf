"""Which models run inside the node, and which never do."""

import msgspec
import pytest

from penstock.core.errors import Refused
from penstock.serving.load import runs_inline


@pytest.mark.parametrize(("isolation", "inline"), [("auto", True), ("inline", True), ("process", False)])
def test_a_graph_of_builtin_operators_runs_inside_unless_told_otherwise(summing_1, isolation, inline):
    assert runs_inline(summing_1, isolation) is inline


@pytest.mark.parametrize(("isolation", "inline"), [("auto", False), ("inline", True), ("process", False)])
def test_python_and_operators_from_elsewhere_must_be_asked_inside(summing_1, python_sum, isolation, inline):
    foreign = msgspec.structs.replace(summing_1.manifest, builtin_operators=False)
    assert runs_inline(python_sum, isolation) is inline
    assert runs_inline(msgspec.structs.replace(summing_1, manifest=foreign), isolation) is inline


@pytest.mark.parametrize("serialization", ["pickle", "joblib"])
def test_a_pickle_is_never_opened_inside(python_sum, serialization):
    served = msgspec.structs.replace(python_sum.manifest.served, runtime="sklearn", serialization=serialization)
    bundle = msgspec.structs.replace(python_sum, manifest=msgspec.structs.replace(python_sum.manifest, served=served))
    assert runs_inline(bundle, "auto") is runs_inline(bundle, "process") is False
    with pytest.raises(Refused, match="pickle-inline"):
        runs_inline(bundle, "inline")
