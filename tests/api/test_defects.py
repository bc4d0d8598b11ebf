"""A defect of ours: the client gets the usual form and no trace, the log gets all of it."""

import asyncio

import httpx

from penstock.api.app import Guard, build_app


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
