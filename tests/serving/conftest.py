"""Bundles and one node that most tests share: each is made once."""

import tempfile
from pathlib import Path

import pytest
from tests.serving.bundles import ELEMENTS, identity, python_bundle, summing, table, two_inputs
from tests.serving.doors import AsgiDoor, NodeDoor
from tests.serving.nodes import RunningNode, document, endpoint, free_port

from penstock.core.routes import Cache
from penstock.serving.http.door import HttpLimits

SUM = "class Model:\n    def predict(self, x):\n        return x.sum(axis=1).astype('float64')\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def summing_1(folder):
    return summing(folder / "summing-1", 100.0)


@pytest.fixture(scope="session")
def summing_2(folder):
    return summing(folder / "summing-2", 200.0)


@pytest.fixture(scope="session")
def python_sum(folder):
    return python_bundle(folder / "python-sum", SUM)


@pytest.fixture(scope="session")
def people(folder):
    return table(folder / "table")


@pytest.fixture(scope="session")
def pair(folder):
    return two_inputs(folder / "pair")


@pytest.fixture(scope="session")
def identities(folder):
    """Datatype to the bundle that gives it back."""
    return {datatype: identity(folder / f"identity-{datatype}", datatype) for datatype in ELEMENTS}


@pytest.fixture
def make_node():
    """`make_node(**settings)`: a node that is not started yet; all are stopped at the end."""
    nodes = []
    # Not pytest's own: its names are too long for the sockets of model processes.
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:

        def make(**settings):
            nodes.append(RunningNode(Path(folder) / str(len(nodes)), **settings))
            return nodes[-1]

        yield make
        for node in nodes:
            node.stop()


@pytest.fixture
def make_grpc_node(make_node):
    """`make_grpc_node(**settings)`: a node with a gRPC port, not started; at the end it has told of no defect."""
    nodes = []

    def made(**settings):
        nodes.append(make_node(grpc_port=free_port(), **settings))
        return nodes[-1]

    yield made
    for node in nodes:
        assert node.stop() == 0
        assert not node.events("internal-error")


@pytest.fixture(scope="session")
def all_routes(summing_1, summing_2, people, pair, identities, folder):
    """Every inline bundle, each way it can be served."""
    fixed = identity(folder / "fixed", "FP32", (2, 3))
    vectors = identity(folder / "vectors", "INT64", (-1,))
    wide = identity(folder / "wide", "FP32", (-1, -1))
    return document(
        1,
        sum=endpoint(summing_1, summing_2, limits={"max_body_bytes": 1_000_000}),
        split=endpoint(summing_1, summing_2, weights=[5_000, 5_000]),
        small=endpoint(summing_1, limits={"max_body_bytes": 2_000}),
        people=endpoint(people),
        pair=endpoint(pair),
        kept=endpoint(pair, cache=Cache()),
        fixed=endpoint(fixed),
        vectors=endpoint(vectors),
        wide=endpoint(wide),
        **{f"same-{datatype}": endpoint(bundle) for datatype, bundle in identities.items()},
    )


@pytest.fixture(scope="session")
def node(tmp_path_factory, all_routes):
    """One event loop that serves every inline bundle."""
    running = RunningNode(
        tmp_path_factory.mktemp("node"), http=HttpLimits(max_body_bytes=1_000_000), grpc_port=free_port()
    )
    running.publish(all_routes)
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


@pytest.fixture(scope="session")
def impatient(tmp_path_factory, summing_1, identities):
    """A node that allows 1 s for a request and 3 s of idleness: too short for clients that only happen to be slow."""
    running = RunningNode(
        tmp_path_factory.mktemp("impatient"),
        http=HttpLimits(request_timeout_s=1, idle_timeout_s=3),
        grpc_port=free_port(),
    )
    running.publish(document(1, sum=endpoint(summing_1), same=endpoint(identities["FP64"])))
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


@pytest.fixture(scope="session")
def asgi(tmp_path_factory, all_routes):
    """The same endpoints behind the ASGI adapter, in this process."""
    running = RunningNode(tmp_path_factory.mktemp("asgi"))
    running.publish(all_routes)
    door = AsgiDoor(running.settings, running.log_path)
    yield door
    door.close()
    assert not running.events("internal-error")


@pytest.fixture(params=["node", "asgi"])
def door(request):
    """Each door in its turn."""
    found = request.getfixturevalue(request.param)
    return NodeDoor(found) if request.param == "node" else found
