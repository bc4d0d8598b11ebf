"""Control is killed at any moment of its work: nothing is half done, what was begun ends, and answers never stop."""

import contextlib
import http.client
import os
import random
import threading

from tests.api.conftest import spec
from tests.api.whole import check_whole
from tests.serving.nodes import until

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "2"))
LONGEST_S = 0.4


class Traffic:
    """Asks the node, one call after the other, until it is left; `wrong` is every answer that was none."""

    def __init__(self, up):
        self._up = up
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers, self.wrong = 0, []

    def _ask(self):
        while not self._stop.wait(0.005):
            answer = self._up.predict()
            self.answers += 1
            if answer not in (110, 210):
                self.wrong.append(answer)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def work(api, number):
    """A round of everything that changes something. Whoever is killed answers nothing more."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        key = api.request("POST", "/v1/keys", {"subject": f"shop-{number}", "role": "viewer"})[2]["key"]["id"]
        api.request("PUT", "/v1/models/sum/aliases/champion", {"version": 1 + number % 2})
        required = {"access": {"required": False}, "schedules": {f"s{number}": {"cron": "0 0 1 1 *", "what": "check"}}}
        wanted = {**spec(sum=f"sum/{1 + number % 2}", **{f"other-{number % 3}": "sum/1"}), **required}
        api.request("POST", "/v1/apply", wanted)
        api.request("DELETE", f"/v1/keys/{key}")
        api.request("POST", "/v1/apply", spec(sum=f"sum/{2 - number % 2}"))


def settled(up):
    """Whether no operation is left for anybody."""
    return all(one["state"] not in ("pending", "running") for one in up.api.get("/v1/operations")["items"])


def test_control_killed_at_any_moment(make_up, archives, database_url):
    # Given an endpoint that answers
    chance = random.Random(int(os.environ.get("PENSTOCK_TEST_SEED", "1")))
    up = make_up(database_url).start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    with Traffic(up) as traffic:
        for number in range(COUNT):
            # When control is killed somewhere in a round of changes
            working = threading.Thread(target=work, args=(up.api, number))
            working.start()
            threading.Event().wait(chance.uniform(0, LONGEST_S))
            up.kill()
            working.join()
            up.start()
            # Then what was begun ends, and nothing is half there
            until(lambda: settled(up), what="the end of what was begun")
            check_whole(database_url)
    # And nobody who asked the node noticed
    assert traffic.answers > COUNT and not traffic.wrong, traffic.wrong[:5]
    # And the node serves what control says
    newest = up.api.get("/v1/generations?limit=1")["items"][0]["generation"]
    until(lambda: up.api.get(f"/v1/generations/{newest}/convergence")["serving"] == ["local"])
