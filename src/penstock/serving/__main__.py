"""One event loop of a node, started by its supervisor: `python -m penstock.serving INDEX SETTINGS`."""

from __future__ import annotations

import sys

import msgspec

from penstock.serving.run import run_loop
from penstock.serving.settings import NodeSettings, decode_path


def main() -> int:
    """Run the loop that the arguments describe."""
    settings = msgspec.json.decode(sys.argv[2], type=NodeSettings, dec_hook=decode_path)
    return run_loop(settings, int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
