"""The plan: which gates, and what each of them asks for. `penstock.yaml` holds one under `gates:`."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.core.errors import InvalidInput, NotFound

Share = Annotated[float, Meta(ge=0, le=1)]
Confidence = Annotated[float, Meta(gt=0.5, lt=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of what a gate can be told."""


class GoldenSettings(Settings, frozen=True):
    """Golden rows: nothing to choose, their tolerances are the bundle's."""


class SchemaSettings(Settings, frozen=True):
    """Schema compatibility. `allow` names inputs and outputs whose break is known and wanted."""

    allow: tuple[str, ...] = ()


class RobustnessSettings(Settings, frozen=True):
    """Missing, unseen, extreme and nudged inputs.

    Numbers are nudged by `nudge` of their spread; at most `max_flips` of the rows may then answer otherwise.
    """

    nudge: Positive = 0.01
    max_flips: Share = 0.1
    seed: int = 0


class BudgetSettings(Settings, frozen=True):
    """Latency and memory, measured here. Without a time the endpoint's deadline holds; without a memory none does.

    `single_ms` and `batch_ms` are for the 99th percentile of `runs` runs of one row and of `rows` rows.
    """

    single_ms: Positive | None = None
    batch_ms: Positive | None = None
    memory_bytes: Count | None = None
    rows: Count = 64
    runs: Count = 200


class Bound(Settings, frozen=True):
    """What one metric must reach. `not_worse_than` is how much worse than the champion's it may be."""

    min: float | None = None
    max: float | None = None
    not_worse_than: Annotated[float, Meta(ge=0)] | None = None


class QualitySettings(Settings, frozen=True):
    """Quality on held-out rows: a CSV, Parquet or NPZ file with the true answers in `target`.

    `confidence` is how sure a verdict must be; less is inconclusive. `slices` are columns whose every value is judged
    by itself. Of more than `max_rows` rows so many are chosen.
    """

    data: str
    target: str
    metrics: Annotated[dict[str, Bound], Meta(min_length=1)]
    slices: tuple[str, ...] = ()
    confidence: Confidence = 0.95
    resamples: Annotated[int, Meta(ge=100, le=100_000)] = 1000
    min_rows: Annotated[int, Meta(ge=2)] = 50
    max_rows: Count = 50_000
    seed: int = 0


class ReplaySettings(Settings, frozen=True):
    """Recorded requests of the last `days` (None: all), at most so many rows.

    At most `max_changed` of them may get another label, and no score may move by more than `max_shift`; what is None
    is shown and not judged.
    """

    max_changed: Share | None = None
    max_shift: Annotated[float, Meta(ge=0)] | None = None
    days: Positive | None = None
    rows: Count = 10_000
    confidence: Confidence = 0.95


class CustomSettings(Settings, frozen=True):
    """Checks of your own: Python files with `check_*(candidate)`, or pytest files (`test_*.py`)."""

    files: Annotated[tuple[str, ...], Meta(min_length=1)]
    timeout_s: Positive = 60.0


class GatePlan(Settings, frozen=True):
    """Which gates a version must pass. The first four need no data: `false` leaves one out.

    Example:
        >>> plan = read_plan({"budget": False, "custom": {"files": ["checks.py"]}}, "penstock.yaml")
        >>> list(plan.gates())
        ['schema', 'golden', 'robustness', 'custom']
    """

    schema: bool | SchemaSettings = True
    golden: bool | GoldenSettings = True
    robustness: bool | RobustnessSettings = True
    replay: ReplaySettings | None = None
    quality: QualitySettings | None = None
    budget: bool | BudgetSettings = True
    custom: CustomSettings | None = None
    timeout_s: Positive = 300.0

    def gates(self) -> dict[str, Settings]:
        """The gates asked for with their settings, from the cheapest to the dearest."""
        defaults = (
            ("schema", SchemaSettings()), ("golden", GoldenSettings()), ("robustness", RobustnessSettings()),
            ("replay", None), ("quality", None), ("budget", BudgetSettings()), ("custom", None),
        )  # fmt: skip
        asked = {}
        for name, default in defaults:
            given = getattr(self, name)
            if isinstance(given, Settings):
                asked[name] = given
            elif given is True and default is not None:
                asked[name] = default
        return asked


def files_of(plan: GatePlan) -> tuple[str, ...]:
    """Every file that the plan names."""
    data = (plan.quality.data,) if plan.quality is not None else ()
    return data + (plan.custom.files if plan.custom is not None else ())


def with_files(plan: GatePlan, rename: Callable[[str], str]) -> GatePlan:
    """The plan with another name for each of its files.

    Example:
        >>> plan = read_plan({"custom": {"files": ["checks.py"]}}, "penstock.yaml")
        >>> files_of(with_files(plan, "/srv/{}".format))
        ('/srv/checks.py',)
    """
    replace = msgspec.structs.replace
    if plan.quality is not None:
        plan = replace(plan, quality=replace(plan.quality, data=rename(plan.quality.data)))
    if plan.custom is not None:
        plan = replace(plan, custom=replace(plan.custom, files=tuple(map(rename, plan.custom.files))))
    return plan


def read_plan(value: Any, where: str, folder: Path = Path()) -> GatePlan:
    """A plan from plain values; files in it are taken from `folder`.

    Raises InvalidInput (`invalid-gates`) that names the field, with the nearest one that exists.
    """
    try:
        plan = msgspec.convert(value, GatePlan)
    except msgspec.ValidationError as error:
        raise InvalidInput("invalid-gates", f"{where}: {error}", hint=_nearest_field(str(error))) from None
    for name, bound in (plan.quality.metrics if plan.quality is not None else {}).items():
        if (bound.min, bound.max, bound.not_worse_than) == (None, None, None):
            raise InvalidInput(
                "invalid-gates", f"{where}: metric {name!r} has no bound", hint="give min, max or not_worse_than"
            )
    return with_files(plan, lambda name: str(folder / name))


def read_plan_file(path: Path) -> GatePlan:
    """The plan in a YAML file; files in it are taken from the file's own folder. Raises NotFound, InvalidInput."""
    # Here, since PyYAML is of an extra and a plan may come from elsewhere.
    from penstock.storage.yaml_text import read_yaml

    try:
        text = path.read_text()
    except OSError as error:
        raise NotFound("unknown-file", f"there is no plan at {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput("invalid-yaml", f"{path} is not UTF-8 text") from None
    value = read_yaml(text, str(path))
    return read_plan({} if value is None else value, str(path), path.parent)


def _nearest_field(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown is None:
        return ""
    kinds: tuple[type[Settings], ...] = (GatePlan, *Settings.__subclasses__())
    known = sorted({name for kind in kinds for name in kind.__struct_fields__})
    near = get_close_matches(unknown[1], known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
