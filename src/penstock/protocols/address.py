"""Where a request goes, as far as its URL tells, whatever contract the URL belongs to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class ModelAddress(msgspec.Struct, frozen=True):
    """A model's URL. `verb` is what is asked of it: the name of a form, or of a page.

    Without a `name` it is the only endpoint, or the one marked as default. `version` or `label` pin a version.
    """

    name: str | None
    version: str | None
    verb: str
    label: str | None = None


Parse = Callable[[list[str]], ModelAddress | None]
"""From a path's unquoted parts to an address; None if they are no model's."""
