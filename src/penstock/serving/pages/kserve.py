"""The server's root, as KServe's first protocol has it, with what the Open Inference Protocol says of a server."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.core.version import __version__
from penstock.protocols import kserve
from penstock.protocols.oip import metadata
from penstock.protocols.problems import JSON
from penstock.serving.http.message import Reply
from penstock.serving.pages.visit import Page, Visit


def root(visit: Visit) -> Reply:
    """What the server is, and that it is alive."""
    return Reply(200, JSON, metadata.server_metadata(__version__, kserve.ALIVE))


PAGES: Mapping[str, Page] = {"/": Page(root)}
