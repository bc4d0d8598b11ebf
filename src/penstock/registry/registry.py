"""The registry: every use of it in one place, each method one transaction."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from sqlalchemy import Connection

from penstock.bundle.bundle import Bundle, open_bundle, save_bundle, verify_directory
from penstock.bundle.manifest import MEASUREMENTS
from penstock.core.clock import Clock, timestamp, wall
from penstock.core.errors import Conflict, InvalidInput
from penstock.core.names import VersionRef, check_name, parse_version_ref
from penstock.registry import aliases, audit, schema, versions
from penstock.registry.aliases import Expected
from penstock.registry.audit import Change
from penstock.registry.migrate import migrate
from penstock.registry.records import Event, Model, Verification, Version
from penstock.registry.replay import find_unrecorded
from penstock.registry.texts import check_metrics, check_tags, check_text
from penstock.storage.blobs import Blobs
from penstock.storage.database import Database, open_database
from penstock.storage.disk import disk_errors

_ATTEMPTS = 3


class Registry:
    """Versions of models in a database, their bundles in a blob store; any number of processes may use both at once.

    `actor` is who the audit log names.
    """

    def __init__(self, database: Database, blobs: Blobs, *, actor: str, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._actor = check_text(actor, "actor", 256)
        self._clock = clock

    @classmethod
    def open(cls, database_url: str, blobs: Blobs, *, actor: str, clock: Clock = wall) -> Self:
        """Open the database, creating or upgrading its tables; raises what `open_database` and `migrate` raise."""
        database = open_database(database_url)
        try:
            migrate(database)
            return cls(database, blobs, actor=actor, clock=clock)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database; the registry is not used afterwards."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Registering and reading

    def register(
        self,
        source: Path | Bundle,
        *,
        name: str = "",
        alias: str = "",
        expected: Expected = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> Version:
        """Give a bundle the next number under `name` (default: its own), and optionally an alias, all or nothing.

        The archive is stored before the row that names it exists. A bundle that is registered under this name
        already keeps its number; tags, metrics and alias are applied to it.
        """
        with disk_errors(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="penstock-") as folder:
            scratch = Path(folder)
            if isinstance(source, Bundle):
                bundle = verify_directory(source.directory, source.digest)
            else:
                bundle = open_bundle(source, scratch / "opened")
            model = check_name(name or bundle.manifest.name, "model")
            if alias:
                check_name(alias, "alias")
            entries = check_tags(tags or {}), check_metrics(metrics or {})
            packed = check_metrics(bundle.manifest.lineage.metrics), _read_measurements(bundle)
            for _ in range(_ATTEMPTS):
                blob = self._stored(bundle, model, scratch)
                with self._change(reason) as change:
                    # Under the write lock, which the collector of unnamed blobs holds while it deletes.
                    if not self._blobs.exists(blob):
                        continue
                    number = self._number(change, model, bundle, blob, *packed)
                    versions.set_entries(change, schema.tags, model, number, entries[0])
                    versions.set_entries(change, schema.metrics, model, number, entries[1])
                    if alias:
                        aliases.set_alias(change, model, alias, number, expected)
                    return self._read(change.connection, VersionRef(model, number))
        raise Conflict("artifact-vanished", f"the artifact of {model} was deleted while it was registered")

    def models(self) -> list[Model]:
        """Every model, in the order of the names."""
        with self._database.read() as connection:
            return versions.read_models(connection)

    def versions(self, model: str) -> list[Version]:
        """Every version of a model, the newest first; raises NotFound (`unknown-model`)."""
        with self._database.read() as connection:
            return versions.read_versions(connection, model, self._blobs.uri)

    def get(self, ref: VersionRef) -> Version:
        """The version a reference means now: without number and alias, the newest that is not retired.

        Raises NotFound (`unknown-model`, `unknown-version`, `unknown-alias`).
        """
        with self._database.read() as connection:
            return self._read(connection, ref)

    def resolve(self, text: str) -> Version:
        """`get` for what a person types: `churn`, `churn/7` or `churn@champion`."""
        return self.get(parse_version_ref(text))

    def fetch(self, version: Version, cache: Path) -> Bundle:
        """The version's bundle on this machine, verified by its digest; `cache` keeps it for the next time."""
        known = cache / version.digest.removeprefix("sha256:")
        if known.is_dir():
            return verify_directory(known, version.digest)
        with disk_errors(str(cache)):
            cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as into:
                archive = self._blobs.fetch(version.blob, Path(into))
                return open_bundle(archive, cache, version.digest)

    # Changing what is registered

    def aliases(self, model: str) -> dict[str, int]:
        """Alias to version number; raises NotFound (`unknown-model`)."""
        with self._database.read() as connection:
            versions.check_model(connection, model)
            return aliases.read_aliases(connection, model)

    def set_alias(self, model: str, alias: str, number: int, *, expected: Expected = None, reason: str = "") -> None:
        """Point an alias at a version, if it points at `expected` now (None: wherever it points).

        Raises Conflict (`alias-moved`), Refused (`version-retired`) or NotFound.
        """
        check_name(alias, "alias")
        with self._change(reason) as change:
            aliases.set_alias(change, model, alias, number, expected)

    def delete_alias(self, model: str, alias: str, *, expected: Expected = None, reason: str = "") -> None:
        """Take an alias away, if it points at `expected` now; raises Conflict or NotFound."""
        with self._change(reason) as change:
            aliases.delete_alias(change, model, alias, expected)

    def set_entries(
        self,
        ref: VersionRef,
        *,
        tags: Mapping[str, str | None] | None = None,
        metrics: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> Version:
        """Add or replace tags and metrics of a version; a tag that is None is taken away."""
        check_tags({key: value or "" for key, value in (tags or {}).items()})
        numbers = check_metrics(metrics or {})
        with self._change(reason) as change:
            number = versions.resolve_number(change.connection, ref)
            versions.set_entries(change, schema.tags, ref.name, number, tags or {})
            versions.set_entries(change, schema.metrics, ref.name, number, numbers)
            return self._read(change.connection, VersionRef(ref.name, number))

    def retire(self, ref: VersionRef, *, retired: bool = True, reason: str = "") -> Version:
        """Mark a version as retired (or not); raises Refused (`version-aliased`) while an alias points at it."""
        with self._change(reason) as change:
            number = versions.resolve_number(change.connection, ref)
            versions.set_retired(change, ref.name, number, retired)
            return self._read(change.connection, VersionRef(ref.name, number))

    def collect_garbage(self, *, delete: bool) -> int:
        """How many stored artifacts nothing names; with `delete`, they and what killed processes left are deleted.

        The store must belong to this database alone: archives that only another database names would go, too.
        """
        # Under the write lock, so that no registering process can name a blob that is being deleted.
        with self._change("") as change:
            return self._blobs.collect(versions.read_blobs(change.connection), delete=delete)

    # The audit log

    def history(self, model: str) -> list[Event]:
        """Everything that ever happened to a model, its versions and aliases, oldest first."""
        with self._database.read() as connection:
            versions.check_model(connection, model)
            return audit.read_events(connection, model=model)

    def events(self, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """The audit log from the event after number `after`."""
        with self._database.read() as connection:
            return audit.read_events(connection, after=after, limit=limit)

    def verify_audit(self, expected: str = "") -> Verification:
        """Walk the audit log's chain, then hold what it tells against the tables.

        With `expected`, the hash of an event noted down earlier, one of the events must have it.
        """
        with self._database.read() as connection:
            walked = audit.verify(connection, expected)
            return msgspec.structs.replace(walked, unrecorded=find_unrecorded(connection)) if walked.whole else walked

    # How

    def _read(self, connection: Connection, ref: VersionRef) -> Version:
        number = versions.resolve_number(connection, ref)
        versions.find_version(connection, ref.name, number)
        return versions.read_versions(connection, ref.name, self._blobs.uri, number)[0]

    def _number(
        self, change: Change, model: str, bundle: Bundle, blob: str, metrics: dict[str, float], measurements: Any
    ) -> int:
        row = versions.find_digest(change.connection, model, bundle.digest)
        if row is None:
            number = versions.insert_version(change, model, bundle.digest, blob, bundle.manifest, measurements)
            versions.set_entries(change, schema.metrics, model, number, metrics)
            return number
        if row.blob != blob and not self._blobs.exists(row.blob):
            versions.replace_blob(change, row, blob)
        return int(row.number)

    @contextmanager
    def _change(self, reason: str) -> Iterator[Change]:
        check_text(reason, "reason")
        with self._database.write() as connection:
            yield Change(connection, actor=self._actor, time=timestamp(self._clock()), reason=reason)

    def _stored(self, bundle: Bundle, model: str, scratch: Path) -> str:
        with self._database.read() as connection:
            row = versions.find_digest(connection, model, bundle.digest)
        if row is not None and self._blobs.exists(row.blob):
            return str(row.blob)
        archive = save_bundle(bundle, scratch / "bundle.penstock")
        # What is stored is what is verified: a folder could have changed between its check and its copy.
        open_bundle(archive, scratch / "stored", bundle.digest)
        return self._blobs.put(archive)


def _read_measurements(bundle: Bundle) -> Any:
    path = bundle.directory / MEASUREMENTS
    try:
        return msgspec.json.decode(path.read_bytes()) if path.is_file() else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "damaged-bundle", f"{MEASUREMENTS} cannot be read: {error}", hint="pack the model again"
        ) from None
