"""Control is killed at any moment of its work: nothing is half done, what was begun ends, and answers never stop."""

import contextlib
import http.client
import os
import random
import threading
import time

from tests.api.conftest import spec
from tests.api.whole import check_whole
from tests.serving.bundles import summing
from tests.serving.nodes import until

from penstock.bundle.bundle import save_bundle

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "2"))


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


def work(api, number, archive):
    """A round of everything that changes something. Whoever is killed answers nothing more."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        key = api.post("/v1/keys", {"subject": f"shop-{number}", "role": "viewer"}, 201)["key"]["id"]
        fresh = api.register("more", archive)
        api.request("PUT", "/v1/models/sum/aliases/champion", {"version": 1 + number % 2})
        wanted = spec(sum=f"sum/{1 + number % 2}", **{f"more-{number % 3}": f"more/{fresh}"})
        # A version that no gate has seen, and its alias, in one apply.
        wanted["models"] = {"more": {"aliases": {"newest": fresh}}}
        api.ended(api.begin(wanted))
        api.request("DELETE", f"/v1/keys/{key}")
        api.ended(api.begin(spec(sum=f"sum/{2 - number % 2}")))


def operations(up):
    return up.api.get("/v1/operations?limit=1000")["items"]


def settled(up):
    """Whether no operation is left for anybody."""
    return all(one["state"] not in ("pending", "running") for one in operations(up))


def test_control_killed_at_any_moment(make_up, archives, database_url, tmp_path):
    # Given an endpoint that answers, and how long a round of changes takes when nobody disturbs it
    chance = random.Random(int(os.environ.get("PENSTOCK_TEST_SEED", "1")))
    more = [
        save_bundle(summing(tmp_path / f"more-{number}", float(number)), tmp_path / f"more-{number}.penstock")
        for number in range(COUNT + 1)
    ]
    up = make_up(database_url).start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(spec(sum="sum/1", other="sum/2"))
    until(lambda: up.predict() == 110)
    began = time.monotonic()
    work(up.api, 0, more[0])
    round_s = time.monotonic() - began
    with Traffic(up) as traffic:
        for number in range(1, COUNT + 1):
            # When control is killed somewhere in such a round
            working = threading.Thread(target=work, args=(up.api, number, more[number]))
            working.start()
            threading.Event().wait(chance.uniform(0, round_s))
            up.kill()
            working.join()
            up.start()
            # Then what was begun ends, and nothing is half there
            until(lambda: settled(up), what="the end of what was begun")
            check_whole(database_url)
            assert not list(up.home.glob("uploads/*"))
    # And nothing failed but what came too late, and nobody who asked the node noticed
    failed = {one["error"]["code"] for one in operations(up) if one["state"] == "failed"}
    assert failed <= {"generation-moved"}
    assert traffic.answers > COUNT and not traffic.wrong, traffic.wrong[:5]
    # And the node serves what control says
    newest = up.api.get("/v1/generations?limit=1")["items"][0]["generation"]
    until(lambda: up.api.get(f"/v1/generations/{newest}/convergence")["serving"] == ["local"])
