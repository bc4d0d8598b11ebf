"""What the model is asked while it is packed: its signature and the rows, from a sample or made up."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.digest import digest_of_file
from penstock.core.errors import InvalidInput, ModelFailed, PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors
from penstock.pack.choices import Choices
from penstock.pack.equivalence import Run
from penstock.pack.golden_rows import ROWS, golden_rows, synthetic_calls
from penstock.pack.infer import fit_sample, infer_signature
from penstock.pack.original import Original
from penstock.pack.recording import answerable
from penstock.pack.sample import Sample, read_sample
from penstock.runtime.golden import GoldenCall

_CALLS = 4


class Question(msgspec.Struct, frozen=True):
    """The signature, the sample when there is one, and the seed of everything that is made up."""

    signature: Signature
    sample: Sample | None
    seed: int
    data_digest: str = ""
    texts: tuple[str, ...] = ()


def ask_estimator(original: Original, data: Any, choices: Choices) -> Question:
    """The question to a model that must be shown rows before it can be described."""
    if data is None:
        raise InvalidInput("sample-missing", "this kind of model needs a sample", hint="give --sample with some rows")
    sample = read_sample(data, target=choices.target, dtypes=choices.dtypes)
    sample = fit_sample(sample, original.description, choices.sensitive)
    digest = sample.digest()
    return Question(infer_signature(sample, original.description, original.probe), sample, _seed(digest), digest)


def ask_graph(original: Original, declared: Signature, path: Any, data: Any, choices: Choices) -> Question:
    """The question to a graph that declares its signature; what it leaves open is seen in its answers."""
    texts = original.description.texts
    if data is None:
        question = Question(declared, None, _seed(digest_of_file(path)), texts=texts)
    else:
        sample = read_sample(data, target=choices.target, dtypes=choices.dtypes)
        sample = _named(sample, declared, learned=original.description.runtime == "graph")
        sample = fit_sample(sample, original.description, choices.sensitive)
        bound, _ = Binder(msgspec.structs.replace(declared, inputs=sample.fields), text_only=False)(sample.inputs)
        sample = msgspec.structs.replace(sample, inputs=bound)
        declared = msgspec.structs.replace(declared, inputs=sample.fields)
        question = Question(declared, sample, _seed(sample.digest()), sample.digest(), texts)
    original.bind(declared, {})
    call = golden_calls(question, original.run)[0][0]
    outputs = tuple(_ranked(field, call.outputs, declared.batched) for field in declared.outputs)
    return msgspec.structs.replace(question, signature=msgspec.structs.replace(declared, outputs=outputs))


def _seed(digest: str) -> int:
    return int(digest[-12:], 16)


def _named(sample: Sample, declared: Signature, *, learned: bool) -> Sample:
    """The sample as the graph's inputs: the array of a one-input graph needs no name.

    Where the signature was `learned` from samples it knows itself what may be missing; otherwise this one tells.
    """
    inputs = dict(sample.inputs)
    names = [field.name for field in declared.inputs]
    if len(inputs) == len(names) == 1:
        inputs = dict(zip(names, inputs.values(), strict=True))
    if set(inputs) != set(names):
        raise InvalidInput(
            "wrong-columns",
            f"the sample has {', '.join(list(inputs)[:10])}, the graph takes {', '.join(names[:10])}",
            hint="give an NPZ file with one array per input, under the graph's names",
        )
    if learned:
        inputs = {field.name: inputs[field.name] for field in declared.inputs}
        return Sample("tensors", declared.inputs, inputs, {}, sample.target, sample.target_name)
    missing = {field.name: field.nullable for field in sample.fields} if len(names) > 1 else {}
    only = sample.fields[0].nullable
    fields = tuple(msgspec.structs.replace(f, nullable=missing.get(f.name, only)) for f in declared.inputs)
    return Sample("tensors", fields, {n: inputs[n] for n in names}, {}, sample.target, sample.target_name)


def _ranked(field: Field, outputs: Tensors, batched: bool) -> Field:
    """The field with as many axes as the answer has: graphs may leave even that open."""
    shape = outputs[field.name].shape
    if len(shape) == len(field.shape):
        return field
    return msgspec.structs.replace(field, shape=tuple(-1 for _ in shape))


def golden_calls(question: Question, run: Run) -> tuple[list[GoldenCall], bool]:
    """The golden calls with the answers to them, and whether their inputs are made up.

    Raises ModelFailed("sample-refused") when the model answers none of them.
    """
    sample, signature = question.sample, question.signature
    if sample is not None and signature.batched and not question.texts:
        rows, synthetic = golden_rows(sample, signature.inputs, question.seed)
        return [GoldenCall(*answerable(run, rows))], synthetic
    if sample is not None and not (question.texts or any(field.sensitive for field in signature.inputs)):
        return [GoldenCall(sample.inputs, run(sample.inputs))], False
    calls = made_up_calls(question, ROWS)
    answered, said = [], ""
    for call in calls:
        try:
            answered.append(GoldenCall(call, run(call)))
        except PenstockError as error:
            said = error.message
    if not answered:
        raise ModelFailed(
            "sample-refused",
            f"the graph cannot answer made-up inputs: {said}",
            hint="give --sample with inputs it can answer",
        )
    return answered, True


def made_up_calls(question: Question, rows: int) -> list[Tensors]:
    """Seeded calls of `rows` rows; several for a model without rows."""
    calls = 1 if question.signature.batched else _CALLS
    return synthetic_calls(question.signature, calls, rows, question.seed, question.texts)


def made_up_sample(question: Question, rows: int) -> Sample:
    """The sample where there is none: one made-up call."""
    fields = question.signature.inputs
    return Sample("tensors", fields, made_up_calls(question, rows)[0], {})
