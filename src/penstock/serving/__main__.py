"""A node, or one event loop of it, started by another process: `python -m penstock.serving node|INDEX SETTINGS`."""

from __future__ import annotations

import sys

import msgspec

from penstock.core.errors import PenstockError
from penstock.serving.run import run_loop, run_node
from penstock.serving.settings import NodeSettings, decode_path


def main() -> int:
    """Run what the arguments describe."""
    settings = msgspec.json.decode(sys.argv[2], type=NodeSettings, dec_hook=decode_path)
    if sys.argv[1] != "node":
        return run_loop(settings, int(sys.argv[1]))
    try:
        return run_node(settings)
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
