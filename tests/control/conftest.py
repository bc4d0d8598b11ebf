"""Control on both databases, with gates that answer what a test says."""

import itertools

import pytest
from tests.control.courses import Course, Seen
from tests.registry.conftest import Clock, build_bundle, clock, database_url, postgres  # noqa: F401 - fixtures

from penstock.control.control import Control
from penstock.control.reading import read_spec
from penstock.core.verdicts import Finding, conclude
from penstock.security.identity import Identity
from penstock.storage.folder import Folder

ANA = Identity(subject="ana", role="admin")
BO = Identity(subject="bo", role="approver")
OLA = Identity(subject="ola", role="operator")
VIC = Identity(subject="vic", role="viewer")


class Gates:
    """A judge whose verdict a test sets, and which notes whom it judged; `look` sees each case meanwhile."""

    def __init__(self):
        self.look = lambda case: None
        self.verdict = "pass"
        self.error = None
        self.cases = []

    def __call__(self, case):
        self.cases.append(case)
        self.look(case)
        if self.error is not None:
            raise self.error
        finding = Finding(gate="golden", verdict=self.verdict, summary=f"was told to {self.verdict}")
        return conclude(case.candidate.digest, [finding], started="", seconds=0.0, endpoint=case.endpoint)


@pytest.fixture
def gates():
    return Gates()


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def open_control(database_url, home, clock, gates, seen):  # noqa: F811 - the fixtures
    """Opens control once more, as another process would."""
    opened = []

    def open_once():
        places = Folder(home / "artifacts")
        opened.append(Control.open(database_url, places, home, clock=clock, judge=gates, look=seen))
        return opened[-1]

    yield open_once
    for control in opened:
        control.close()


@pytest.fixture
def control(open_control):
    return open_control()


_contents = itertools.count(1)


@pytest.fixture
def register(control, tmp_path):
    """Registers another version of a model and returns its number."""

    def register_one(model="churn", alias=""):
        bundle = build_bundle(tmp_path, f"model {next(_contents)}".encode(), name=model)
        return control.registry(ANA).register(bundle, name=model, alias=alias).number

    return register_one


def spec(text):
    return read_spec("version: 1\n" + text)


ONE = "endpoints: {churn: {model: churn@champion}}"
CANARY = "rollout: {strategy: canary, steps: [10, 50], bake_s: 60, timeout_s: 1000}"


def canary(model, plan=CANARY, more=""):
    return spec(f"endpoints: {{churn: {{model: {model}, {plan}}}}}\n{more}")


@pytest.fixture
def course(control, clock, seen, register):  # noqa: F811 - a fixture
    """churn/1 is served and churn/2 is on its way by canary."""
    register(alias="champion")
    register()
    control.apply(canary("churn/1"), identity=ANA)
    done = control.apply(canary("churn/2"), identity=ANA, reason="a better one")
    assert done.state == "done", done
    made = Course(control, clock, seen)
    assert made.shares == {"churn/1": 10_000, "churn/2": 0}
    return made
