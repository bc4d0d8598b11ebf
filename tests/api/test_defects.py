"""A defect of ours: the client gets the usual form and no trace, the log gets all of it."""

import asyncio
from types import SimpleNamespace

import httpx

from penstock.api.app import Guard, build_app
from penstock.api.rolling import Rolling
from penstock.core.errors import Conflict


def test_an_exception_that_nobody_expected():
    app, events = build_app(None), []

    @app.get("/boom")
    def boom():
        raise ZeroDivisionError("the secret of line 12")

    async def ask():
        guard = Guard(app, lambda name, **fields: events.append((name, fields)))
        transport = httpx.ASGITransport(guard, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
            return await client.get("/boom")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["code"] == "internal-error" and "secret" not in answer.text
    assert [name for name, _ in events] == ["internal-error", "request"]
    assert "secret of line 12" in events[0][1]["trace"]


def test_a_rollout_that_breaks_our_own_code_stops_no_other():
    ticked, events = [], []

    def tick(number):
        ticked.append(number)
        if number == 1:
            raise ZeroDivisionError("line 12")
        raise Conflict("moved", "somebody was faster")

    plan = SimpleNamespace(every_s=0.0)
    going = [SimpleNamespace(id=number, rollout=SimpleNamespace(plan=plan)) for number in (1, 2)]
    control = SimpleNamespace(rollouts=SimpleNamespace(going=lambda: going, tick=tick))
    rolling = Rolling(
        control, SimpleNamespace(take=lambda name: True), lambda name, **said: events.append((name, said))
    )

    async def twice():
        for _ in range(2):
            await rolling.look()
            await asyncio.gather(*rolling._working.values())

    asyncio.run(twice())
    assert sorted(ticked) == [1, 1, 2, 2]
    assert [(name, said["rollout"]) for name, said in events] == [("internal-error", 1)] * 2
    control.rollouts.going = lambda: 1 / 0
    asyncio.run(rolling.look())
    assert events[-1][0] == "internal-error"
