"""Converts and compares every case; run as a script it writes docs/decisions/convert-coverage.md."""

import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import skl2onnx
import sklearn
from tests.pack.convert.cases import Case, all_cases
from tests.pack.convert.proof import answers, convert, difference, originals

from penstock.pack.convert import CannotConvert

PAGE = Path(__file__).parents[3] / "docs" / "decisions" / "convert-coverage.md"
# Doubles computed in another order differ in their last digits; more than this is another arithmetic.
_EQUAL = 1e-9


class Outcome(msgspec.Struct, frozen=True):
    """What became of a case: `equal`, `close` (single precision in the graph) or `refused`, and why."""

    verdict: str
    reason: str = ""


def outcome(case: Case) -> Outcome:
    """Fit, convert and compare; a difference beyond single precision raises AssertionError."""
    with warnings.catch_warnings():
        # Some fits stop early here and say so; how good a model is does not matter.
        warnings.simplefilter("ignore")
        estimator = case.make().fit(case.x, case.y)
        try:
            model = convert(estimator, case.x)
        except CannotConvert as refusal:
            return Outcome("refused", str(refusal))
        rows = [case.x, *(moved(case.x, way) for way in range(3))]
        apart = max(difference(answers(model, one), originals(estimator, one)) for one in rows)
    assert apart < 1e-5, f"{case.name}: scores differ by {apart}"
    return Outcome("equal") if apart < _EQUAL else Outcome("close", f"up to {10 ** np.ceil(np.log10(apart)):.0e}")


def moved(x: Any, way: int) -> Any:
    """Rows that training never saw: shaken, far out, or rounded to float32; of a table, shuffled by column."""
    rng = np.random.default_rng(way)
    if isinstance(x, pd.DataFrame):
        columns = {}
        for name in x:
            number = isinstance(x[name].dtype, np.dtype) and x[name].dtype.kind == "f"
            columns[name] = x[name] * (way + 1) + 0.1 if number else x[name].iloc[rng.permutation(len(x))].array
        return pd.DataFrame(columns)
    if x.dtype.kind == "i":
        return x + rng.integers(-3, 3, x.shape)
    if way == 0:
        shaken = (x + 0.3 * rng.standard_normal(x.shape)).astype(x.dtype)
        return shaken if np.nanmin(x) < 0 else np.abs(shaken) + 0.1
    return x * 4 if way == 1 else x.astype(np.float32).astype(x.dtype)


def page(outcomes: dict[str, Outcome]) -> str:
    """The table for people."""
    count = {
        verdict: sum(one.verdict == verdict for one in outcomes.values()) for verdict in ("equal", "close", "refused")
    }
    lines = [
        "# What converts to ONNX",
        "",
        "Written by `python -m tests.pack.convert.coverage` from real conversions; a test holds it true.",
        f"scikit-learn {sklearn.__version__}, skl2onnx {skl2onnx.__version__}. Each estimator is compared on its",
        "training rows, on shaken rows, on rows far outside, and on rows rounded to float32.",
        "",
        "- **equal**: labels equal, scores within 1e-9 (mostly within the last digit of a double).",
        "- **close**: labels equal, scores within the stated difference: a part of the graph is in single precision.",
        "- **refused**: no graph is made, the original is served. Nothing that converts was seen to differ.",
        "",
        f"{count['equal']} equal, {count['close']} close, {count['refused']} refused.",
        "",
        "| estimator | outcome | reason |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {one.verdict} | {one.reason} |" for name, one in outcomes.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page({case.name: outcome(case) for case in all_cases()}), encoding="utf-8")
