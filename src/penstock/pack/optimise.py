"""Compile the model and serve the compiled form only where it is proven to answer what the original answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from penstock.bundle.archive import check_member_name
from penstock.bundle.manifest import Artifact, Evidence
from penstock.core.errors import PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors, datatype_of
from penstock.pack.arrays import Values
from penstock.pack.convert import Candidate
from penstock.pack.convert.values import MISSING_TEXT
from penstock.pack.equivalence import Comparison, Run, answered_rows, compare_answers, take
from penstock.pack.estimator import best_seconds
from penstock.pack.original import Original
from penstock.pack.perturb import perturbed
from penstock.pack.question import Question, golden_calls, made_up_sample
from penstock.pack.sample import Sample
from penstock.runtime.load import load_artifact

SERVED = "served/model.onnx"
MOST_ROWS = 10_000
# Rows to compare on where no sample was given.
_MADE_UP = 64
_CHUNK = 1000
_REFUSED = 16
# An ONNX form this much slower at one row and at many is no optimisation, however equal it is.
_SLOWER = 1.2


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds per row, of the original and of what is served, for calls of this many rows."""

    rows: int
    original_us: float
    served_us: float


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a node will run: its artifact, the signature with its datatypes, the proof, and how to ask it here."""

    original: Artifact
    artifact: Artifact
    signature: Signature
    evidence: Evidence
    timings: tuple[Timing, ...]
    run: Run
    close: Callable[[], None]


class Trial(msgspec.Struct, frozen=True):
    """Rows to compare on, with the original's answers: those of the sample, and those made from it.

    `refused` are made-up rows that the original cannot take.
    """

    sample: list[tuple[Tensors, Tensors]]
    perturbed: list[tuple[Tensors, Tensors]]
    refused: list[Tensors]

    def compare(self, run: Run, signature: Signature) -> Comparison:
        """Ask another form the same questions."""
        total = Comparison()
        for inputs, expected in (*self.sample, *self.perturbed):
            try:
                total = total.plus(compare_answers(expected, run(inputs), signature))
            except PenstockError as error:
                return total.plus(Comparison(problem=error.message[:200]))
        for inputs in self.refused:
            try:
                run(inputs)
            except PenstockError:
                continue
            # An answer where the model has none is a wrong answer, and the signature does not keep such rows away.
            return total.plus(Comparison(problem="it answers rows that the original refuses"))
        return total

    @property
    def answers(self) -> list[Tensors]:
        """The original's answers."""
        return [answers for _, answers in (*self.sample, *self.perturbed)]


def optimise(original: Original, artifact: Artifact, question: Question, root: Path, *, convert: bool = True) -> Served:
    """Choose the served form and prove it; the ONNX form is written below `root`, the bundle's folder.

    Without `convert` there is nothing to choose: the original is served.
    """
    signature, sample = question.signature, question.sample
    if original.description.runtime == "onnx":
        return _as_given(original, artifact, question)
    sample = sample or made_up_sample(question, _MADE_UP)
    options = {**artifact.options, **sample.options, **original.description.options}
    original.bind(signature, options)
    forms, reason = original.convert()
    trial = make_trial(original.run, sample, signature, question.seed, with_perturbed=bool(forms))
    if _labels_are_best_scores(trial.answers, signature):
        options["derive_predictions"] = True
    artifact = msgspec.structs.replace(artifact, options=options)
    if not convert:
        forms, reason = [], "the original was asked for"
    several = {rows: _rows(sample.inputs, rows) for rows in (1, 64)} if signature.batched else {1: sample.inputs}
    before = {rows: original.seconds(inputs) for rows, inputs in several.items()}
    for form in forms:
        served, reason = _try(form, artifact, trial, signature, root, before, several)
        if served is not None:
            return msgspec.structs.replace(served, original=artifact)
    original.bind(signature, options)
    return Served(
        original=artifact,
        artifact=artifact,
        signature=signature,
        evidence=Evidence(converted=False, reason=reason),
        timings=_timings(before, before),
        run=original.run,
        close=lambda: None,
    )


def _as_given(original: Original, artifact: Artifact, question: Question) -> Served:
    """A graph is served as it is; what it was compiled from is not known here, so there is nothing to compare."""
    signature = question.signature
    original.bind(signature, {})
    calls, _ = golden_calls(question, original.run)
    several = {rows: _rows(calls[0].inputs, rows) for rows in (1, 64)} if signature.batched else {1: calls[0].inputs}
    seconds = {rows: original.seconds(inputs) for rows, inputs in several.items()}
    return Served(
        original=artifact,
        artifact=artifact,
        signature=signature,
        evidence=Evidence(converted=False, reason="the model was given as ONNX"),
        timings=_timings(seconds, seconds),
        run=original.run,
        close=lambda: None,
    )


def make_trial(run: Run, sample: Sample, signature: Signature, seed: int, *, with_perturbed: bool) -> Trial:
    """The original's answers to the sample (at most 10 000 rows of it) and, when asked, to rows made from it."""
    if not signature.batched:
        return Trial([(sample.inputs, run(sample.inputs))], [], [])
    chosen = np.arange(sample.rows)
    if sample.rows > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(sample.rows, MOST_ROWS, replace=False))
    chunks = [take(sample.inputs, chosen[at : at + _CHUNK]) for at in range(0, len(chosen), _CHUNK)]
    made, refused = [], []
    for block in perturbed(sample, _fields(signature), seed).values() if with_perturbed else ():
        answered, others = answered_rows(run, block)
        made += answered
        refused += others[:_REFUSED]
    return Trial([(chunk, run(chunk)) for chunk in chunks], made, refused)


def _fields(signature: Signature) -> tuple[Field, ...]:
    """The inputs, whole numbers of a graph being indices: of one that is in no table nobody knows what it means."""
    if signature.layout != "tensors":
        return signature.inputs
    return tuple(
        msgspec.structs.replace(field, categories=(), closed=True) if "INT" in field.datatype else field
        for field in signature.inputs
    )


def _labels_are_best_scores(answers: list[Tensors], signature: Signature) -> bool:
    """Whether `predict` is the arg-max of `predict_proba` everywhere, so that one of the two suffices."""
    if signature.classes is None or not all({"predictions", "probabilities"} <= answer.keys() for answer in answers):
        return False
    classes: Values = np.empty(len(signature.classes), object)
    classes[:] = signature.classes
    return all(
        bool((classes[answer["probabilities"].argmax(axis=1)] == answer["predictions"].astype(object)).all())
        for answer in answers
    )


def _try(
    form: Candidate,
    original: Artifact,
    trial: Trial,
    signature: Signature,
    root: Path,
    before: dict[int, float],
    several: dict[int, Tensors],
) -> tuple[Served | None, str]:
    artifact = _artifact(form, signature)
    path = root / SERVED
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(form.model)
    for name in form.beside:
        shutil.copyfile((root / original.path).with_name(check_member_name(name)), path.with_name(name))
    try:
        model = load_artifact(path, artifact, signature)
    except PenstockError as error:
        shutil.rmtree(path.parent)
        return None, f"its ONNX form ({form.name}) cannot be opened: {error.message}"
    found = trial.compare(model.run, signature)
    after = {rows: best_seconds(model, inputs) for rows, inputs in several.items()} if found.equal else {}
    if not found.equal or all(after[rows] > _SLOWER * before[rows] for rows in after):
        model.close()
        shutil.rmtree(path.parent)
        return None, _why_not(form, found)
    served = _datatypes(signature, model.run(several[1]))
    return Served(
        original=artifact,
        artifact=artifact,
        signature=served,
        evidence=_evidence(form, trial, found),
        timings=_timings(before, after),
        run=model.run,
        close=model.close,
    ), ""


def _artifact(form: Candidate, signature: Signature) -> Artifact:
    # ONNX has no missing text; the converter gives this one its meaning.
    texts = any(field.datatype == "BYTES" and field.nullable for field in signature.inputs)
    missing: dict[str, Any] = {"missing_text": MISSING_TEXT} if texts and form.runtime == "onnx" else {}
    return Artifact(path=SERVED, runtime=form.runtime, serialization="onnx", options={**missing, **form.options})


def _why_not(form: Candidate, found: Comparison) -> str:
    if found.equal:
        return f"its ONNX form ({form.name}) is equal but slower at 1 and at 64 rows"
    differ = "labels differ" if not found.labels_equal else f"scores differ by {found.largest_difference:.3g}"
    what = found.problem or differ
    return f"its ONNX form ({form.name}) does not answer the same: {what}"


def _evidence(form: Candidate, trial: Trial, found: Comparison) -> Evidence:
    made = sum(len(next(iter(inputs.values()))) for inputs, _ in trial.perturbed)
    return Evidence(
        converted=True,
        reason="the ONNX form answers what the original answers" + (f"; {form.note}" if form.note else ""),
        converter={"form": form.name, **form.converter},
        rows_compared=found.rows - made,
        perturbed_rows=made,
        labels_equal=found.labels_equal,
        largest_difference=found.largest_difference,
        ties=found.ties,
    )


def _datatypes(signature: Signature, answer: Tensors) -> Signature:
    """The signature with the datatypes that the served form gives: single precision where it answers so."""
    outputs: tuple[Field, ...] = tuple(
        msgspec.structs.replace(field, datatype=datatype_of(answer[field.name])) for field in signature.outputs
    )
    return msgspec.structs.replace(signature, outputs=outputs)


def _rows(inputs: Tensors, rows: int) -> Tensors:
    count = len(next(iter(inputs.values())))
    return take(inputs, np.arange(rows) % count)


def _timings(before: dict[int, float], after: dict[int, float]) -> tuple[Timing, ...]:
    return tuple(
        Timing(rows=rows, original_us=before[rows] / rows * 1e6, served_us=after[rows] / rows * 1e6) for rows in before
    )
