"""From what the folders hold to the route document of the node beside, again and again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from penstock.cli.folders.contents import bundle_of, stamp_of
from penstock.cli.folders.policy import ModelFolder, arms_of, chosen, numbered
from penstock.core.clock import Clock
from penstock.core.digest import canonical_json
from penstock.core.errors import PenstockError
from penstock.core.routes import FORMAT, Access, Arm, Cache, Endpoint, RouteDocument, read_routes
from penstock.serving.again import pause_s
from penstock.serving.held_back import HeldBack, write_held_back

ROUTES = "served.json"
_PREPARED = "prepared.json"
Event = Callable[..., None]


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, for which node: `state` is its folder, `home` the one with its bundles."""

    models: tuple[ModelFolder, ...]
    home: str
    state: str
    isolation: Literal["auto", "inline", "process"] = "auto"
    cache: bool = False
    access: Access | None = None


class _Prepared(msgspec.Struct, frozen=True):
    stamp: str
    bundle: str


class _Failed(msgspec.Struct, frozen=True):
    stamp: str
    held: HeldBack
    failures: int
    due: float


_Key = tuple[str, int]


class Watcher:
    """Looks into the folders; `look` publishes what changed, if anything did.

    A version is taken when its folder was the same in two looks, so that one that is being copied is left alone. One
    that cannot be used is tried again when it changes, and one whose trouble may pass by itself (a full disk) also
    after a while.
    """

    def __init__(self, watching: Watching, event: Event, clock: Clock) -> None:
        self._watching = watching
        self._event = event
        self._clock = clock
        self._state = Path(watching.state)
        self._bundles = Path(watching.home, "bundles")
        self._document = self._last()
        self._prepared = self._read_prepared()
        self._failed: dict[_Key, _Failed] = {}
        self._stamps: dict[_Key, str] = {}
        self._loading: _Key | None = None
        # By model, what was said last: a trouble that goes on is told once.
        self._told: dict[str, str] = {}
        self._held: dict[str, dict[str, HeldBack]] | None = None

    def look(self) -> None:
        """Look once, at every model."""
        for model in self._watching.models:
            try:
                endpoint = self._endpoint(model)
            except Exception as error:  # a defect of ours with one model must not keep the others from being served
                self._tell(model.name, f"{type(error).__name__}: {str(error)[:300]}")
                continue
            endpoints = dict(self._document.endpoints)
            if endpoint is None:
                endpoints.pop(model.name, None)
            else:
                endpoints[model.name] = endpoint
            self._publish(endpoints)
        self._tell_held()

    def _endpoint(self, model: ModelFolder) -> Endpoint | None:
        """The model's endpoint as it should be now; None where there is nothing to serve."""
        before = self._document.endpoints.get(model.name)
        try:
            found = {
                version: Path(model.base_path, name)
                for version, name in numbered(_folders(Path(model.base_path))).items()
            }
        except OSError as error:
            # A volume that is away for a moment is no order to stop.
            self._tell(model.name, f"{model.base_path}: {error.strerror}")
            return before
        self._forget(model.name, found)
        arms: dict[int, Arm] = {}
        unusable: set[int] = set()
        while True:
            wanted = chosen(found, model.policy, unusable)
            version = next((version for version in wanted if version not in arms), None)
            if version is None:
                break
            prepared = self._version(model.name, version, found[version])
            if prepared is None:
                unusable.add(version)
            else:
                arms[version] = self._arm(model.name, version, prepared)
        self._tell(model.name, "")
        if not arms:
            # Nothing to take over from what is served, unless nothing is there any more.
            return before if found else None
        return self._endpoint_of(model, arms)

    def _endpoint_of(self, model: ModelFolder, arms: dict[int, Arm]) -> Endpoint:
        labels = {label: arms[version].version for label, version in model.labels.items() if version in arms}
        return Endpoint(
            arms=arms_of(arms),
            isolation=self._watching.isolation,
            cache=Cache() if self._watching.cache else None,
            labels=labels,
        )

    def _arm(self, name: str, version: int, prepared: _Prepared) -> Arm:
        folder = self._bundles / prepared.bundle.removeprefix("sha256:")
        return Arm(name=f"v{version}", version=f"{name}/{version}", bundle=prepared.bundle, uri=str(folder), weight=0)

    def _version(self, name: str, version: int, folder: Path) -> _Prepared | None:
        """A version that can be served; None where it cannot yet, or not as it is."""
        key = (name, version)
        known = self._prepared.get(key)
        try:
            stamp = stamp_of(folder)
        except OSError:
            # It is going, or being replaced.
            return known
        if known is not None and known.stamp == stamp:
            self._failed.pop(key, None)
            return known
        settled = self._stamps.get(key) == stamp
        self._stamps[key] = stamp
        failed = self._failed.get(key)
        if not settled or (failed is not None and failed.stamp == stamp and self._clock() < failed.due):
            return known
        self._loading = key
        self._tell_held()
        try:
            bundle = bundle_of(folder, name, self._bundles)
        except (PenstockError, OSError) as error:
            self._fail(key, stamp, error)
            return known
        finally:
            self._loading = None
        self._failed.pop(key, None)
        self._prepared[key] = prepared = _Prepared(stamp, bundle.digest)
        self._write_prepared()
        self._event("version-prepared", endpoint=name, version=version, bundle=bundle.digest)
        return prepared

    def _fail(self, key: _Key, stamp: str, error: PenstockError | OSError) -> None:
        before = self._failed.get(key)
        failures = before.failures + 1 if before is not None and before.stamp == stamp else 1
        kind = error.kind if isinstance(error, PenstockError) else "unavailable"
        due = self._clock() + pause_s(failures) if kind == "unavailable" else float("inf")
        self._failed[key] = _Failed(stamp, HeldBack(state="END", problem=str(error), kind=kind), failures, due)
        self._event("version-held-back", endpoint=key[0], version=key[1], reason=str(error))

    def _forget(self, name: str, found: dict[int, Path]) -> None:
        """Forget versions whose folders are gone: another one of that number is a new one."""
        for known in (self._prepared, self._failed, self._stamps):
            for key in [key for key in known if key[0] == name and key[1] not in found]:
                del known[key]

    def _tell(self, name: str, problem: str) -> None:
        if problem and self._told.get(name) != problem:
            self._event("folder-unreadable", endpoint=name, reason=problem)
        self._told[name] = problem

    def _tell_held(self) -> None:
        """Tell the node which versions it was not given, if that is news."""
        held: dict[str, dict[str, HeldBack]] = {}
        for (name, version), failed in sorted(self._failed.items()):
            held.setdefault(name, {})[str(version)] = failed.held
        if self._loading is not None:
            held.setdefault(self._loading[0], {})[str(self._loading[1])] = HeldBack(state="LOADING")
        if held != self._held:
            write_held_back(self._state, held)
            self._held = held

    # ---- what is written

    def _publish(self, endpoints: dict[str, Endpoint]) -> None:
        document = self._document
        if endpoints == document.endpoints and (document.access == self._watching.access or not document.generation):
            return
        document = RouteDocument(
            format=FORMAT, generation=document.generation + 1, endpoints=endpoints, access=self._watching.access
        )
        text = canonical_json(document)
        # Through the reader: what the node would refuse must fail here, where somebody is told.
        self._document = read_routes(text)
        _replace(self._state / ROUTES, text)

    def _last(self) -> RouteDocument:
        """The document of the last run, which the node has as well."""
        try:
            return read_routes((self._state / ROUTES).read_bytes())
        except (OSError, PenstockError):
            return RouteDocument(format=FORMAT, generation=0, endpoints={})

    def _read_prepared(self) -> dict[_Key, _Prepared]:
        try:
            listed = msgspec.json.decode((self._state / _PREPARED).read_bytes(), type=list[tuple[str, int, _Prepared]])
        except (OSError, msgspec.MsgspecError):
            return {}
        return {
            (name, version): prepared
            for name, version, prepared in listed
            if (self._bundles / prepared.bundle.removeprefix("sha256:")).is_dir()
        }

    def _write_prepared(self) -> None:
        listed = [(name, version, prepared) for (name, version), prepared in sorted(self._prepared.items())]
        _replace(self._state / _PREPARED, msgspec.json.encode(listed))


def _folders(base_path: Path) -> Iterator[str]:
    with os.scandir(base_path) as entries:
        yield from (entry.name for entry in entries if entry.is_dir())


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)
