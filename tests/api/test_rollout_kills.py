"""Control is killed after every step of a rollout, and somewhere in the next: no step is lost or done twice."""

import itertools
import os
import random
import re
import threading

import msgspec
from sqlalchemy import select
from tests.api.test_kills import Traffic
from tests.api.whole import check_whole
from tests.serving.nodes import until

from penstock.control.schema import generations
from penstock.storage.database import open_database

ROUNDS = int(os.environ.get("PENSTOCK_TEST_COUNT", "1"))
PLAN = {
    "strategy": "canary", "steps": [20, 60], "bake_s": 0.1, "every_s": 0.2, "least_samples": 20, "timeout_s": 300,
    "metrics": {"errors": {"kind": "errors", "margin": 0.3}},
}  # fmt: skip


def wanted(version):
    return {"version": 1, "endpoints": {"sum": {"model": f"sum/{version}", "rollout": PLAN}}}


def rollout(up):
    return up.api.get("/v1/rollouts?limit=1")["items"][0]


def weights(database_url, version):
    """The share of a version in each generation of the endpoint, in their order, each change once."""
    database = open_database(database_url)
    try:
        with database.read() as connection:
            rows = connection.execute(select(generations).order_by(generations.c.generation)).all()
    finally:
        database.close()
    arms = [msgspec.json.decode(row.endpoints)["sum"]["arms"] for row in rows]
    shares = [sum(arm["weight"] for arm in one if arm["version"] == f"sum/{version}") for one in arms]
    return [share for share, _ in itertools.groupby(shares)]


def test_control_killed_at_every_step_of_a_rollout(make_up, archives, database_url):
    # Given an endpoint that answers all the time
    chance = random.Random(int(os.environ.get("PENSTOCK_TEST_SEED", "1")))
    up = make_up(database_url).start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(wanted(1))
    until(lambda: up.predict() == 110)
    kills = 0
    with Traffic(up) as traffic:
        for number in range(1, ROUNDS + 1):
            # When control is killed after every step, and a moment into the next
            to = 1 + number % 2
            up.api.apply(wanted(to))
            known, record = 1, rollout(up)
            while record["rollout"]["state"]["phase"] != "ended":
                record = up.api.get(f"/v1/rollouts/{number}?after={known}&wait_s=20")
                if record["revision"] > known:
                    known = record["revision"]
                    threading.Event().wait(chance.choice((0, chance.uniform(0, 0.6))))
                    up.kill()
                    kills += 1
                    check_whole(database_url)
                    up.start()
            # Then it was promoted, by each of its steps once and in order
            told = [event["text"] for event in up.api.get(f"/v1/rollouts/{number}/events")]
            assert record["rollout"]["state"]["end"] == "promoted", told
            steps = [found for text in told for found in re.findall(r"^(?:step \d|promoted|canary|ended)", text)]
            assert steps == ["canary", "step 1", "step 2", "promoted", "ended"], told
    up.stop()
    # And nobody who asked the node noticed; every share was set once, and only ever grew
    assert traffic.answers > 100 and not traffic.wrong, traffic.wrong[:5]
    assert not up.events("internal-error")
    assert kills >= 6 * ROUNDS
    rises = [0, 2000, 6000, 10_000]
    assert weights(database_url, 2)[: len(rises)] == rises
    check_whole(database_url)
