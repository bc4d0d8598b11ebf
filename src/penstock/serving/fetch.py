"""The bundle of an arm on this machine: from where it lies, or from the store its uri names, verified by its digest."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.bundle.bundle import Bundle, open_bundle, verify_directory
from penstock.core.errors import InvalidInput
from penstock.core.routes import Arm


def fetch_bundle(arm: Arm, bundles: Path) -> Bundle:
    """Open and verify the bundle of `arm`; `bundles` keeps what was fetched or extracted, under its digest.

    A bundle that is kept needs neither the store nor the network: that is how a node restarts without them.
    """
    kept = bundles / arm.bundle.removeprefix("sha256:")
    if arm.bundle and kept.is_dir():
        return verify_directory(kept, arm.bundle)
    parts = urlsplit(arm.uri)
    if parts.scheme in ("", "file"):
        return open_bundle(Path(unquote(parts.path) if parts.scheme else arm.uri), bundles, arm.bundle)
    if parts.scheme != "s3":
        raise InvalidInput("unknown-uri", f"a bundle's uri {arm.uri[:200]!r} is neither a path nor file:// nor s3://")
    # S3 needs an extra that a node of local files does without.
    from penstock.storage.locate import open_uri

    store, digest = open_uri(arm.uri)
    bundles.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=bundles) as into:
        return open_bundle(store.fetch(digest, Path(into)), bundles, arm.bundle)
