"""One of several processes that work on one registry at once: `rivals.py URL ARTIFACTS BUNDLES ACTOR MOVES`.

Waits for a line on its input, registers every bundle in an order of its own, then moves one alias MOVES times, each
time by compare-and-set; prints how often it won and the number it was given for every bundle.
"""

import json
import random
import sys
from pathlib import Path

from penstock.core.errors import Conflict
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder


def main() -> None:
    url, artifacts, bundles, actor, moves = sys.argv[1:]
    paths = sorted(Path(bundles).iterdir())
    random.Random(actor).shuffle(paths)
    sys.stdin.readline()
    with Registry.open(url, Folder(Path(artifacts)), actor=actor) as registry:
        numbers = {path.name: registry.register(path, name="m").number for path in paths}
        lost = 0
        for _ in range(int(moves)):
            while True:
                current = registry.aliases("m").get("live")
                target = (current or 0) % len(paths) + 1
                try:
                    registry.set_alias("m", "live", target, expected=current or "absent")
                    break
                except Conflict:
                    lost += 1
    print(json.dumps({"numbers": numbers, "lost": lost}))


if __name__ == "__main__":
    main()
