"""The process that runs the user's checks: `python -m penstock.gates.custom_process ORDER`."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from penstock.bundle.bundle import verify_directory
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.core.verdicts import Finding
from penstock.gates.candidate import Subject, open_candidate
from penstock.gates.custom import Order, Result
from penstock.runtime import golden


class CheckedModel:
    """What a check gets to ask: a model, by named arrays.

    `name`, `digest`, `signature`; `golden` are inputs of the golden rows, to begin with; `champion` is the model in
    use now, or None.
    """

    def __init__(self, subject: Subject, champion: CheckedModel | None = None) -> None:
        self._subject = subject
        self.champion = champion
        self.name: str = subject.bundle.manifest.name
        self.digest: str = subject.bundle.digest
        self.signature: Signature = subject.signature
        self.golden: Tensors = golden.sample_inputs(subject.bundle)

    def answer(self, inputs: Mapping[str, Any]) -> Tensors:
        """Every output for named inputs; raises what a caller would be told."""
        return self._subject.answer({name: np.asarray(values) for name, values in inputs.items()})

    def predict(self, inputs: Any) -> Any:
        """The labels or numbers alone; a single array is a matrix's only input."""
        named = inputs if isinstance(inputs, Mapping) else {self.signature.inputs[0].name: inputs}
        outputs = self.answer(named)
        return outputs["predictions" if "predictions" in outputs else self.signature.outputs[0].name]


def main() -> int:
    """Run one file; write each result as it comes, and an empty one at the end."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    bundle = verify_directory(Path(order.bundle[0]), order.bundle[1])
    other = verify_directory(Path(order.champion[0]), order.champion[1]) if order.champion else None
    # Model processes of this process: they end with it, however it ends.
    opened = open_candidate(bundle, Path(order.home), champion=other, allow_pickle=order.allow_pickle)
    with opened as candidate, Path(order.results).open("ab", buffering=0) as results:
        champion = CheckedModel(candidate.champion) if candidate.champion is not None else None
        model = CheckedModel(candidate, champion)

        def tell(result: Result) -> None:
            results.write(msgspec.json.encode(result) + b"\n")

        path = Path(order.file)
        sys.path.insert(0, str(path.parent))
        os.chdir(path.parent)
        if path.name.startswith("test_") or path.name.endswith("_test.py"):
            _run_pytest(path, model, tell)
        else:
            for result in _run_functions(path, model):
                tell(result)
        tell(Result("", "pass"))
    return 0


def _run_functions(path: Path, model: CheckedModel) -> Iterator[Result]:
    for name, function in vars(_loaded(path)).items():
        if name.startswith("check_") and callable(function):
            yield _run_function(name, function, model)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_function(name: str, function: Callable[[CheckedModel], Any], model: CheckedModel) -> Result:
    try:
        found = function(model)
    except Exception:  # the user's own code: its failure is what it found
        return Result(name, "fail", "".join(traceback.format_exc(limit=-3)).strip()[-1500:])
    if isinstance(found, Finding):
        return Result(name, found.verdict, found.summary, found.evidence)
    if found is None or found is True or (isinstance(found, np.bool_) and bool(found)):
        return Result(name, "pass")
    said = "" if found is False or isinstance(found, np.bool_) else f"it returned {str(found)[:200]!r}, not a bool"
    return Result(name, "fail", said)


def _plugin(pytest: Any, model: CheckedModel, tell: Callable[[Result], None]) -> Any:
    """Gives pytest the model, and its results to us."""

    # Made here: pytest looks for fixtures in the class of a plugin, and only a test run needs pytest.
    class Plugin:
        @pytest.fixture(scope="session")  # type: ignore[untyped-decorator]
        def candidate(self) -> CheckedModel:
            return model

        @pytest.fixture(scope="session")  # type: ignore[untyped-decorator]
        def predict(self) -> Any:
            return model.predict

        def pytest_runtest_logreport(self, report: Any) -> None:
            # Once a test: when it ran, or when its setting up or tearing down went wrong.
            if report.when == "call" or not report.passed:
                verdict: Any = {"passed": "pass", "failed": "fail"}.get(report.outcome, "inconclusive")
                text = "" if report.passed else str(report.longrepr)[-1500:]
                tell(Result(report.nodeid.rpartition("::")[2], verdict, text))

    return Plugin()


def _run_pytest(path: Path, model: CheckedModel, tell: Callable[[Result], None]) -> None:
    try:
        import pytest
    except ModuleNotFoundError:
        tell(Result("pytest", "inconclusive", "pytest is not installed here; pip install pytest"))
        return
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(path.parent),
        "-c",
        os.devnull,
        "--import-mode=importlib",
    ]
    status = pytest.main([*options, str(path)], plugins=[_plugin(pytest, model, tell)])
    # 0 and 1 are told test by test, 5 is that there was none.
    if int(status) not in (0, 1, 5):
        tell(Result("pytest", "fail", f"pytest ended with {pytest.ExitCode(status).name}; see the output"))


if __name__ == "__main__":
    sys.exit(main())
