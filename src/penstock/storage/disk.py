"""What the operating system says about a disk, said in Penstock's words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import Unavailable

# EFBIG is what a file-size limit of the process answers; for the user it is the same: there is no room.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors(place: str) -> Iterator[None]:
    """Turn an OSError into Unavailable: `disk-full` when there is no room in `place`, else `artifacts-unavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Unavailable(
                "disk-full", f"no room left in {place}", hint="free some space; nothing was changed"
            ) from error
        raise Unavailable("artifacts-unavailable", f"{place}: {error}") from error
