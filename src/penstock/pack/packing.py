"""From a trained model to a sealed bundle: the whole way in one function, `_bundle`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.bundle.bundle import SUFFIX, Bundle, save_bundle, seal
from penstock.bundle.graph import Graph, Node, read_graph
from penstock.bundle.manifest import FORMAT, MEASUREMENTS, Artifact, Batching, Manifest, Waiver
from penstock.bundle.profile import write_profile
from penstock.core.digest import canonical_json, digest_of_file
from penstock.core.errors import Conflict, Refused, Unavailable
from penstock.core.tensors import Tensors
from penstock.pack.choices import Choices, make_choices
from penstock.pack.convert import uses_builtin_operators
from penstock.pack.environment import write_environment
from penstock.pack.equivalence import join, prove_batching, take
from penstock.pack.estimator import EstimatorOriginal
from penstock.pack.graph_packing import SUFFIXES, OpenedGraph, opened_graph, read_graph_file
from penstock.pack.graph_proof import prove
from penstock.pack.lineage import lineage_of
from penstock.pack.live import saved
from penstock.pack.mlflow_source import folder_of, is_mlflow, read_source
from penstock.pack.opening import artifact_of, files_beside
from penstock.pack.optimise import Served, Timing, optimise
from penstock.pack.original import Description, Original
from penstock.pack.profiling import profile_of
from penstock.pack.question import Question, ask_estimator, ask_graph, golden_calls
from penstock.pack.recording import check_original, record
from penstock.pack.remote import Child, RemoteOriginal
from penstock.pack.sample import Sample

PROFILE = "profile.json"
_BATCH_ROWS = 64
Progress = Callable[[str], None]


class Packed(msgspec.Struct, frozen=True):
    """A bundle that was just packed: where it is, what it is, and how fast it was measured to be."""

    path: Path
    digest: str
    manifest: Manifest
    timings: tuple[Timing, ...]


def pack(model: Any, sample: Any = None, *, name: str, out: str | Path | None = None, progress: Progress | None = None,
         **choices: Any) -> Packed:  # fmt: skip
    """Pack a trained model: a live one, or the path of a file or folder (`file.py:Class` for source).

    Also an MLflow model: its folder, or `runs:/ID/path`, `models:/NAME/VERSION`, `models:/NAME@ALIAS`.

    `sample` are rows like those to be answered: a CSV, Parquet or NPZ file, a DataFrame or an array. `out` is where
    the bundle goes: a file that ends in `.penstock` (default `NAME.penstock`), else a new folder. The other arguments
    are the fields of `Choices`. Raises a PenstockError that says what was wrong; nothing is left at `out` then.
    """
    if isinstance(model, (str, Path)):
        return pack_file(model, sample, name=name, out=out, progress=progress, **choices)
    with tempfile.TemporaryDirectory(prefix="penstock-live-") as folder:
        if (path := saved(model, Path(folder))) is not None:
            return pack_file(path, sample, name=name, out=out, progress=progress, **choices)
    wanted = make_choices(name, choices)
    waiver = Waiver(reason=wanted.allow_pickle, file_sha256="") if wanted.allow_pickle else None
    original = EstimatorOriginal(model, waived=waiver is not None)
    return _pack(original, waiver, sample, wanted, out, progress)


def pack_file(model: str | Path, sample: Any = None, *, name: str, out: str | Path | None = None,
              progress: Progress | None = None, **choices: Any) -> Packed:  # fmt: skip
    """Pack a model file; see `pack`. It is opened in a child process, a pickle only under a waiver.

    Raises Refused("pickle-refused") for a pickle or joblib file without `allow_pickle="reason"`.
    """
    wanted = make_choices(name, choices)
    if Path(model).suffix.lower() in SUFFIXES:
        return pack_graph(read_graph_file(Path(model)), Path(model).parent, sample, wanted, out, progress)
    if is_mlflow(str(model)):
        return _pack_mlflow(str(model), sample, wanted, out, progress)
    path, artifact = artifact_of(str(model))
    waiver = _waiver(artifact, path, wanted)
    original = RemoteOriginal(path, artifact, files_beside(path, artifact, wanted.assets))
    return _pack(original, waiver, sample, wanted, out, progress)


def _pack_mlflow(
    model: str, sample: Any, choices: Choices, out: str | Path | None, progress: Progress | None
) -> Packed:
    """Pack an MLflow model with its signature, its environment, and its input example where no sample is given."""
    with tempfile.TemporaryDirectory(prefix="penstock-mlflow-") as folder:
        scratch = Path(folder)
        about, source = read_source(folder_of(model, scratch), choices.flavor, scratch)
        waiver = _waiver(source.artifact, source.path, choices)
        known = {"mlflow.model": model if "://" not in model and ":/" in model else "", **about.identity}
        dtypes = {} if sample is None and about.columns is None else about.dtypes()
        choices = msgspec.structs.replace(
            choices,
            dtypes={**dtypes, **choices.dtypes},
            parameters={**{key: value for key, value in known.items() if value}, **choices.parameters},
        )
        sample = about.sample() if sample is None else sample
        original = RemoteOriginal(
            source.path, source.artifact, source.beside, lock=source.lock, description=source.description
        )
        return _pack(original, waiver, sample, choices, out, progress)


def graph(
    steps: list[Mapping[str, Any]], sample: Any = None, *, name: str, base: str | Path = ".",
    out: str | Path | None = None, progress: Progress | None = None, **choices: Any,
) -> Packed:  # fmt: skip
    """Pack a graph of bundles: its steps as in a graph file (docs/formats/graph.md), with files relative to `base`."""
    plan = read_graph({"graph": 1, "steps": steps}, "graph")
    return pack_graph(plan, Path(base), sample, make_choices(name, choices), out, progress)


def pack_graph(
    plan: Graph, base: Path, data: Any, choices: Choices, out: str | Path | None, progress: Progress | None
) -> Packed:
    """Pack a graph with all its steps inside; each Python step becomes a bundle of its own first."""

    def pack_step(node: Node, sample: Sample, folder: Path) -> Path:
        assets = str(base / node.assets) if node.assets else ""
        path = folder / f"{node.name}{SUFFIX}"
        pack_file(f"{base / node.python}", sample, name=node.name, out=path, assets=assets)
        return path

    with opened_graph(plan, base, data, choices, pack_step) as opened:
        return _pack(opened.original, opened.waiver, opened.sample, choices, out, progress, opened)


def _waiver(artifact: Artifact, path: Path, choices: Choices) -> Waiver | None:
    if artifact.serialization not in ("pickle", "joblib"):
        return None
    if not choices.allow_pickle:
        raise Refused(
            "pickle-refused",
            f"{path.name} is a pickle: opening it runs whatever code its author put in it",
            hint='if you trust where it comes from, say why: allow_pickle="reason"',
        )
    return Waiver(reason=choices.allow_pickle, file_sha256=digest_of_file(path))


def _pack(
    original: Original,
    waiver: Waiver | None,
    data: Any,
    choices: Choices,
    out: str | Path | None,
    progress: Progress | None,
    opened: OpenedGraph | None = None,
) -> Packed:
    tell = progress or (lambda text: None)
    target = Path(out) if out is not None else Path(f"{choices.name}{SUFFIX}")
    work = Path(tempfile.mkdtemp(prefix="penstock-pack-"))
    try:
        if target.exists() and target.suffix != SUFFIX:
            raise Conflict("out-exists", f"{target} exists already", hint="give another --out, or remove it first")
        bundle, timings = _bundle(original, waiver, data, choices, work, tell, opened)
        tell(f"writing {target}")
        return Packed(save_bundle(bundle, target), bundle.digest, bundle.manifest, timings)
    except OSError as error:
        where = error.filename or target
        raise Unavailable("cannot-write", f"{where} cannot be written: {error.strerror or error}") from error
    finally:
        original.close()
        shutil.rmtree(work, ignore_errors=True)


def _bundle(
    original: Original,
    waiver: Waiver | None,
    data: Any,
    choices: Choices,
    root: Path,
    tell: Progress,
    opened: OpenedGraph | None,
) -> tuple[Bundle, tuple[Timing, ...]]:
    about = original.description
    tell("reading the sample")
    artifact = original.store(root)
    if about.declared is None:
        question = ask_estimator(original, data, choices)
    else:
        question = ask_graph(original, about.declared, root / artifact.path, data, choices)
    tell("converting, comparing and timing")
    served = optimise(original, artifact, question, root, convert=choices.convert)
    try:
        tell("proving that rows may be batched")
        calls, synthetic = golden_calls(question, served.run)
        batching = _batching(served, question, calls[0].inputs)
        if opened is not None:
            tell("running the steps by hand")
            rows = question.sample.inputs if question.sample else calls[0].inputs
            evidence = prove(opened.by_hand, served.run, rows, served.signature)
            served, batching = msgspec.structs.replace(served, evidence=evidence), opened.batching or batching
        tell("recording golden rows")
        with Child(original.lock) as child:
            golden = record(child, root, served.artifact, served.signature, calls, synthetic=synthetic)
            check_original(child, root, served.original, served.artifact, served.signature)
        profiled = _profile(root, served, question)
    finally:
        served.close()
    tell("locking the environment")
    draft = Manifest(
        format=FORMAT,
        name=choices.name,
        kind=about.kind,
        signature=served.signature,
        files={},
        original=served.original,
        served=served.artifact,
        builtin_operators=_builtin(root, served.artifact, opened),
        evidence=served.evidence,
        batching=batching,
        golden=golden,
        environment=write_environment(root, _needed(about, served), vendor=choices.vendor, lock=original.lock),
        profile=PROFILE if profiled else "",
        lineage=lineage_of(about, choices, question.data_digest),
        waiver=_used(waiver, root, artifact),
        licence=choices.licence,
    )
    (root / MEASUREMENTS).write_bytes(canonical_json({"format": 1, "timings": served.timings}))
    return seal(root, draft), served.timings


def _batching(served: Served, question: Question, golden: Tensors) -> Batching:
    if not served.signature.batched:
        return Batching(allowed=False, reason="the model has no variable first axis")
    rows = take(question.sample.inputs, slice(0, _BATCH_ROWS)) if question.sample else golden
    return prove_batching(served.run, rows, question.seed)


def _profile(root: Path, served: Served, question: Question) -> bool:
    """Write the reference profile; there is none without rows to look at."""
    sample = question.sample
    if sample is None or not served.signature.batched:
        return False
    outputs = join(served.run(take(sample.inputs, slice(at, at + 1000))) for at in range(0, sample.rows, 1000))
    write_profile(profile_of(served.signature, sample.inputs, outputs, sample.target), root / PROFILE)
    return True


def _builtin(root: Path, served: Artifact, opened: OpenedGraph | None) -> bool:
    if opened is not None:
        return all(bundle.manifest.holds_no_code for bundle in opened.bundles.values())
    return served.serialization == "onnx" and uses_builtin_operators((root / served.path).read_bytes())


def _needed(about: Description, served: Served) -> list[str]:
    """What a process needs to run what is served, which is not what it took to train it."""
    if served.artifact.serialization == "onnx":
        reader = {"huggingface": "pillow" if served.artifact.options.get("task") == "images" else "tokenizers"}
        return ["numpy", "onnxruntime", *filter(None, [reader.get(served.artifact.runtime)])]
    return sorted({*about.distributions, *(["pandas"] if served.signature.layout == "table" else [])})


def _used(waiver: Waiver | None, root: Path, original: Artifact) -> Waiver | None:
    """The waiver if it was needed: a live estimator may have been stored without a pickle."""
    if waiver is not None and original.runtime in ("mlflow", "graph"):
        return waiver  # of the pickle among its files
    if waiver is None or original.serialization not in ("pickle", "joblib"):
        return None
    return Waiver(reason=waiver.reason, file_sha256=digest_of_file(root / original.path))
