"""Schedules: the minutes that cron fields name, each once, whatever the clock does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from tests.control.conftest import ANA
from tests.predlog.logged import BEGIN_S, block, write_segment
from tests.serving.bundles import summing

from penstock.api.actions import actions_of
from penstock.api.leases import Leases
from penstock.api.schedules import Schedules, is_due
from penstock.control.control import Control as ControlHere
from penstock.control.reading import read_spec
from penstock.control.schema import leases as leases_table
from penstock.control.spec import Schedule, Spec
from penstock.core.clock import wall
from penstock.predlog.table_views import open_places
from penstock.storage.database import open_database
from penstock.storage.folder import Folder

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "times"),
    [
        ("* * * * *", 1440),
        ("0 * * * *", 24),
        ("*/20 * * * *", 72),
        ("10-20 3 * * *", 11),
        ("10-20/5 3 * * *", 3),
        ("50/5 3 * * *", 2),
        ("0 0 * * 1", 1),
        ("0 0 * * 0", 0),
        ("0,30 1,2 23 11 *", 4),
        ("0 0 23 12 *", 0),
    ],
)
def test_how_often_it_is_due_on_one_monday(cron, times):
    assert sum(is_due(cron, MONDAY + timedelta(minutes=minute)) for minute in range(1440)) == times


@given(st.integers(0, 400))
def test_sunday_has_two_numbers(day):
    when = MONDAY + timedelta(days=day)
    assert is_due("0 0 * * 0", when) == is_due("0 0 * * 7", when) == (when.isoweekday() == 7)


def ours(occurrence):
    return True


class Control:
    """Only what is asked of it here."""

    def spec(self):
        return Spec(version=1, schedules={"often": Schedule(cron="* * * * *", what="compact-log")})


@pytest.mark.parametrize(
    ("steps", "runs"),
    [([60], 1), ([1, 1], 0), ([30, 30, 30, 30], 2), ([86_400], 1), ([-3600, 60], 0), ([60, -60, 60, 60], 2)],
)
def test_every_minute_is_due_once(steps, runs):
    now, done, events = [MONDAY.timestamp()], [], []
    schedules = Schedules(
        Control(), {"compact-log": lambda: done.append(now[0])}, ours, lambda *e, **f: events.append(e), lambda: now[0]
    )
    for seconds in steps:
        now[0] += seconds
        asyncio.run(schedules.look())
    assert len(done) == runs


class Machine:
    """A control with a database connection of its own, whose clock a test moves."""

    def __init__(self, url, home, name, actions):
        self.now = MONDAY.timestamp()
        self.said, self.ran = [], []
        self.control = ControlHere.open(url, Folder(home / "artifacts"), home)
        self.database = open_database(url)
        leases = Leases(self.database, name, lambda: self.now)
        run = {what: partial(self.ran.append, what) for what in actions}
        self.schedules = Schedules(self.control, run, leases.claim, self.tell, lambda: self.now)

    def tell(self, name, **fields):
        self.said.append((name, fields.get("what")))

    def look(self):
        asyncio.run(self.schedules.look())

    def close(self):
        self.control.close()
        self.database.close()


TWICE = """version: 1
schedules:
  often: {cron: "* * * * *", what: rehearse}
  log: {cron: "* * * * *", what: compact-log}
"""


@pytest.fixture
def machine(database_url, tmp_path):
    made = []

    def make(*actions):
        home = tmp_path / str(len(made))
        home.mkdir()
        made.append(Machine(database_url, home, f"control-{len(made)}", actions))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_of_several_controls_that_look_at_once_one_runs_each_minute_and_each_its_own_log(machine):
    machines = [machine("rehearse", "compact-log") for _ in range(2)]
    done = machines[0].control.apply(read_spec(TWICE), identity=ANA)
    assert done.state == "done", done
    with ThreadPoolExecutor(2) as threads:
        for minute in range(1, 7):
            for one in machines:
                one.now += 60
            list(threads.map(Machine.look, machines))
            assert sum(one.ran.count("rehearse") for one in machines) == minute
            assert [one.ran.count("compact-log") for one in machines] == [minute] * 2
    assert not [said for one in machines for said in one.said if said[0] != "schedule-run"]


def test_what_all_missed_is_made_up_for_once_and_not_by_each(machine):
    machines = [machine("rehearse", "compact-log") for _ in range(3)]
    machines[0].control.apply(read_spec(TWICE), identity=ANA)
    # Given that all were away for an hour, when they look one after the other and again
    for one in (*machines, *machines):
        one.now = MONDAY.timestamp() + 3600
        one.look()
    assert sum(one.ran.count("rehearse") for one in machines) == 1
    # And one that starts afterwards does nothing of it
    late = machine("rehearse", "compact-log")
    late.now += 3600
    late.schedules = Schedules(late.control, {}, lambda name: True, late.tell, lambda: late.now)
    late.look()
    assert late.ran == late.said == []


def test_a_control_that_cannot_do_it_takes_it_from_nobody(machine):
    bare, able = machine("compact-log"), machine("rehearse", "compact-log")
    bare.control.apply(read_spec(TWICE), identity=ANA)
    for one in (bare, able):
        one.now += 60
        one.look()
    assert ("schedule-not-run", "rehearse") in bare.said
    assert able.ran.count("rehearse") == 1


def test_claims_are_not_kept_for_ever(machine):
    one = machine("rehearse", "compact-log")
    one.control.apply(read_spec(TWICE), identity=ANA)
    for _ in range(3):
        one.now += 60
        one.look()
    if one.database.dialect == "postgresql":
        # Its clock is its own: the rows are made a day older instead.
        with one.database.write() as connection:
            connection.execute(update(leases_table).values(expires_at=leases_table.c.expires_at - 2 * 86_400))
    one.now += 2 * 86_400
    one.look()
    with one.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(leases_table)).scalar_one() == 1


def test_what_cannot_be_done_is_said():
    now, said = [MONDAY.timestamp()], []
    schedules = Schedules(Control(), {}, ours, lambda name, **_: said.append(name), lambda: now[0])
    now[0] += 60
    asyncio.run(schedules.look())
    assert said == ["schedule-not-run"]


@pytest.mark.parametrize(("spec", "runs"), [(None, 24), (Spec(version=1), 24), (Control().spec(), 1440)])
def test_the_log_is_compacted_every_hour_unless_the_spec_says_when(spec, runs):
    now, done = [MONDAY.timestamp()], []
    control = Control()
    control.spec = lambda: spec
    actions = {"compact-log": lambda: done.append(now[0])}
    schedules = Schedules(control, actions, ours, lambda *e, **f: None, lambda: now[0])

    async def a_day():
        for _ in range(1440):
            now[0] += 60
            await schedules.look()

    asyncio.run(a_day())
    assert len(done) == runs


def test_compacting_moves_the_log_into_the_table_and_gives_up_what_is_too_old(tmp_path):
    # Given a closed segment of a node of this home
    folder = tmp_path / "predlog" / "local"
    folder.mkdir(parents=True)
    write_segment(folder, [block(2)])
    table = open_places(tmp_path).table
    said = []

    def compact(now_s):
        event = lambda name, **fields: said.append((name, fields))  # noqa: E731
        actions_of(None, open_places(tmp_path), None, event, lambda: now_s)["compact-log"]()
        return said[-1][1]

    # When it is compacted, then it is in the table
    first = compact(BEGIN_S)
    assert (first["segments"], first["rows"], first["trimmed"]) == (1, 2, 0)
    assert len(table.keys("predictions")) == 1
    # And gone when the day is older than a month
    assert compact(BEGIN_S + 29 * 86_400)["trimmed"] == 0
    assert compact(BEGIN_S + 32 * 86_400)["trimmed"] == 1
    assert table.keys("predictions") == []


def test_what_is_served_is_rehearsed_and_checked_with_its_real_gates(tmp_path):
    home, said = tmp_path / "home", []
    home.mkdir()
    with ControlHere.open(f"sqlite:///{home / 'registry.db'}", Folder(home / "artifacts"), home) as control:
        control.registry(ANA).register(summing(tmp_path / "sum", 100.0), name="sum")
        done = control.apply(read_spec("version: 1\nendpoints: {sum: {model: sum/1}}"), identity=ANA)
        assert done.state == "done", done
        actions = actions_of(control, open_places(home), ANA, lambda name, **fields: said.append((name, fields)), wall)
        actions["rehearse"]()
        actions["check"]()
    assert [name for name, _ in said] == ["version-judged"] * 2
    assert [(fields["what"], fields["version"], fields["verdict"]) for _, fields in said] == [
        ("rehearse", "sum/1", "pass"),
        ("check", "sum/1", "pass"),
    ]
