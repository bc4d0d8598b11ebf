"""Golden rows on disk: asked of the served form here, asked again of the stored file in another process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from penstock.bundle.manifest import Artifact, Golden
from penstock.core.errors import InvalidInput, ModelFailed
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.equivalence import ATOL, RTOL, Run, answered_rows, take
from penstock.pack.remote import Child
from penstock.runtime import golden

GOLDEN = "golden.bin"


def answerable(run: Run, rows: Tensors) -> tuple[Tensors, Tensors]:
    """The rows that the model answers and whose label does not hang on rounding, with the answers to them.

    Shuffled columns may meet in a row the model refuses, and a label chosen between equal scores may flip on another
    processor: neither may keep a sound bundle from loading. Raises ModelFailed("sample-refused") when none is left.
    """
    kept, refused = answered_rows(run, rows)
    if not kept:
        raise ModelFailed("sample-refused", f"the model answers none of {len(refused)} rows whose columns are shuffled")
    ((rows, answers),) = kept
    scores = answers.get("probabilities")
    if scores is not None and scores.ndim == 2 and scores.shape[1] > 1:
        best = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
        clear = np.flatnonzero(best[:, 1] - best[:, 0] > 10 * (ATOL + RTOL))
        if 0 < len(clear) < len(scores):
            rows = take(rows, clear)
            answers = run(rows)
    return rows, answers


def record(
    child: Child,
    root: Path,
    artifact: Artifact,
    signature: Signature,
    calls: list[golden.GoldenCall],
    *,
    synthetic: bool,
) -> Golden:
    """Write the golden calls and compare with what `child`, another process, answers twice from the stored file."""
    golden.write(root / GOLDEN, calls)
    load_in(child, root, artifact, signature)
    again = [child.ask("answer", call.inputs)[0] for _ in range(2) for call in calls]
    alike = all(same(call.outputs, got) for call, got in zip(calls * 2, again, strict=True))
    rows = len(next(iter(calls[0].inputs.values()))) if signature.batched else 0
    return Golden(
        path=GOLDEN,
        rows=rows,
        deterministic=alike,
        synthetic=synthetic,
        calls=0 if signature.batched else len(calls),
        rtol=RTOL,
        atol=ATOL,
    )


def load_in(child: Child, root: Path, artifact: Artifact, signature: Signature) -> None:
    """Load a stored artifact in the child; a pickle that gets here is served as one, under its waiver."""
    child.ask(
        "load",
        path=str(root / artifact.path),
        artifact=msgspec.to_builtins(artifact),
        signature=msgspec.to_builtins(signature),
        allow_pickle=True,
    )


def check_original(child: Child, root: Path, original: Artifact, served: Artifact, signature: Signature) -> None:
    """Load the stored original in `child`, replay the golden rows, and refuse a copy that answers otherwise.

    Not for a pickle: its waiver covers opening it once, and that has happened.
    """
    if original.serialization in ("pickle", "joblib") or original.path == served.path:
        return
    load_in(child, root, original, signature)
    for call in golden.read(root / GOLDEN):
        found = golden.compare(call.outputs, child.ask("answer", call.inputs)[0], RTOL, ATOL)
        if not found.equal:
            raise InvalidInput(
                "original-differs",
                f"{original.path}, read back from its file, does not answer what the model answered: {found.first}",
                hint="this model does not survive being saved; report its type to its library",
            )


def same(expected: Tensors, got: Tensors) -> bool:
    """Whether two answers are equal to the last bit."""
    return all(
        name in got
        and got[name].dtype == want.dtype
        and np.array_equal(want, got[name], equal_nan=want.dtype.kind == "f")
        for name, want in expected.items()
    )
