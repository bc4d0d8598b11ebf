"""A bundle on its way in: streamed to a file of its own, counted and digested while it comes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from fastapi import Request

from penstock.api.doors import doors_of
from penstock.core.errors import TooLarge
from penstock.storage.disk import disk_errors

MOST_BUNDLE_BYTES = 16 * 2**30


class Upload(msgspec.Struct, frozen=True):
    """A file that is removed when the request has been answered."""

    path: Path
    digest: str


async def receive(request: Request) -> AsyncIterator[Upload]:
    """The body as a file; raises TooLarge (`body-too-large`), Unavailable (`disk-full`)."""
    spool = doors_of(request).spool
    with disk_errors(str(spool)):
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(suffix=".penstock", dir=spool)
    path = Path(name)
    try:
        yield Upload(path, await _write(request, descriptor, spool))
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _write(request: Request, descriptor: int, spool: Path) -> str:
    hashed, size = hashlib.sha256(), 0
    # Unbuffered: what a full disk refuses must be refused here, not when the file is closed.
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        async for part in request.stream():
            size += len(part)
            if size > MOST_BUNDLE_BYTES:
                raise TooLarge("body-too-large", f"the body is longer than {MOST_BUNDLE_BYTES} bytes")
            hashed.update(part)
            with disk_errors(str(spool)):
                # On a thread: a slow disk must not hold up the other doors.
                await asyncio.to_thread(file.write, part)
    return hashed.hexdigest()
