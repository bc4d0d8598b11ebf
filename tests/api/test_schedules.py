"""Schedules: the minutes that cron fields name, each once, whatever the clock does."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.api.schedules import Schedules, is_due
from penstock.control.spec import Schedule, Spec

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
        Control(), {"compact-log": lambda: done.append(now[0])}, lambda *e, **f: events.append(e), lambda: now[0]
    )
    for seconds in steps:
        now[0] += seconds
        asyncio.run(schedules.look())
    assert len(done) == runs


def test_what_cannot_be_done_is_said():
    now, said = [MONDAY.timestamp()], []
    schedules = Schedules(Control(), {}, lambda name, **_: said.append(name), lambda: now[0])
    now[0] += 60
    asyncio.run(schedules.look())
    assert said == ["schedule-not-run"]
