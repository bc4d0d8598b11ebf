"""What a graph takes and gives, from the signatures of its bundles alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from penstock.bundle.graph import Graph, Node, Switch, children, mapped, switches
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import DTYPES

Fields = dict[str, Field]
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def signature_of(graph: Graph, steps: Mapping[str, Signature]) -> Signature:
    """The signature of the whole; raises InvalidInput("graph-mismatch") where steps do not fit together.

    An input of the graph is a value that a step takes and no step before it gives. What only a switch asks for is
    described by the graph itself.
    """
    needs: dict[str, list[Field]] = {}
    outputs = _outputs(Node(sequence=graph.steps), steps, {}, needs)
    told = {field.name: field for field in graph.inputs}
    inputs = tuple(_merged(name, fields or [told[name]] if name in told else fields) for name, fields in needs.items())
    for switch in switches(graph.steps):
        for field in inputs:
            if field.name == switch.on:
                check_conditions(switch, field)
    layout: Literal["table", "tensors"] = "table" if all(len(field.shape) == 1 for field in inputs) else "tensors"
    classes = classes_of(Node(sequence=graph.steps), steps)
    return Signature(inputs=inputs, outputs=tuple(outputs.values()), layout=layout, classes=classes)


def node_outputs(node: Node, steps: Mapping[str, Signature]) -> Fields:
    """What one step gives, whatever it takes."""
    return _outputs(node, steps, {}, {})


def given_names(nodes: tuple[Node, ...], steps: Mapping[str, Signature]) -> frozenset[str]:
    """Every name under which some step gives a value."""
    names: set[str] = set()
    for node in nodes:
        names |= node_outputs(node, steps).keys() | given_names(children(node), steps)
    return frozenset(names)


def _outputs(node: Node, steps: Mapping[str, Signature], hand: Fields, needs: dict[str, list[Field]]) -> Fields:
    if node.is_leaf:
        return _leaf(node, steps[node.name], hand, needs)
    if node.switch is not None:
        if node.switch.on not in hand:
            needs.setdefault(node.switch.on, [])
        else:
            check_conditions(node.switch, hand[node.switch.on])
    given: Fields = {}
    if node.sequence:
        for step in node.sequence:
            given = _outputs(step, steps, hand, needs)
            hand = {**hand, **given}
        return given
    answers = [_outputs(child, steps, dict(hand), needs) for child in children(node)]
    if node.ensemble is None:
        return {name: _common(name, answers) for name in _same_names(answers, "the cases of a switch")}
    if node.ensemble.combine == "each":
        return {
            f"{member.name}.{name}": msgspec.structs.replace(field, name=f"{member.name}.{name}")
            for member, answer in zip(node.ensemble.members, answers, strict=True)
            for name, field in answer.items()
        }
    fields = {name: _common(name, answers) for name in _same_names(answers, "the members of an ensemble")}
    _check_combined(node, fields, steps)
    return fields


def check_conditions(switch: Switch, field: Field) -> None:
    """Refuse a switch that can never find its values; raises InvalidInput("graph-mismatch")."""
    text = field.datatype == "BYTES"
    for case in switch.cases:
        when = case.when
        wanted = (*((when.equals,) if when.equals is not None else ()), *when.one_of)
        limits = any(limit is not None for limit in (when.below, when.at_most, when.above, when.at_least))
        if len(field.shape) != 1 or (text and limits) or any(isinstance(value, str) != text for value in wanted):
            raise InvalidInput(
                "graph-mismatch",
                f"the switch on {switch.on!r} cannot decide by {field.datatype}{list(field.shape)}",
                hint="it needs one value for each row: text for equals and in, or numbers",
            )


def _leaf(node: Node, signature: Signature, hand: Fields, needs: dict[str, list[Field]]) -> Fields:
    inputs, outputs = mapped(node.inputs), mapped(node.outputs)
    takes, gives = ({field.name: field for field in fields} for fields in (signature.inputs, signature.outputs))
    for known, named, what in ((takes, inputs, "input"), (gives, outputs, "output")):
        if unknown := sorted(set(named) - set(known)):
            raise InvalidInput(
                "graph-mismatch", f"step {node.name!r} has no {what} {unknown[0]!r}", hint=f"it has {', '.join(known)}"
            )
    if len(set(outputs.values())) != len(outputs):
        raise InvalidInput("graph-mismatch", f"step {node.name!r} gives two outputs one name")
    for name, field in takes.items():
        value = inputs.get(name, name)
        if value in hand:
            _check_fits(node.name, field, hand[value])
        else:
            needs.setdefault(value, []).append(field)
    chosen = outputs or {name: name for name in gives}
    return {given: msgspec.structs.replace(gives[name], name=given) for name, given in chosen.items()}


def _check_fits(step: str, field: Field, given: Field) -> None:
    source, target = DTYPES[given.datatype], DTYPES[field.datatype]
    narrowed = (given.datatype, field.datatype) == ("FP64", "FP32")
    if len(given.shape) != len(field.shape) or not (narrowed or np.can_cast(source, target, "safe")):
        raise InvalidInput(
            "graph-mismatch",
            f"step {step!r} takes {field.name!r} as {field.datatype}{list(field.shape)}, "
            f"the steps before it give {given.datatype}{list(given.shape)}",
            hint="put a Python step between them",
        )


def _merged(name: str, fields: list[Field]) -> Field:
    """The field of an input that several steps take: the narrowest that all of them can."""
    if not fields:
        raise InvalidInput("graph-mismatch", f"a switch asks for {name!r}, which no step gives or takes",
                           hint="give a sample that has it, or describe it under `inputs`")  # fmt: skip
    for field in fields:
        others = [other for other in fields if other is not field]
        safe = all(np.can_cast(DTYPES[field.datatype], DTYPES[o.datatype], "safe") for o in others)
        if safe and all(len(other.shape) == len(field.shape) for other in others):
            limits = {"categories": field.categories, "closed": field.closed} if not others else {}
            return msgspec.structs.replace(
                field, name=name, nullable=any(f.nullable for f in fields), sensitive=any(f.sensitive for f in fields),
                **({"categories": None, "closed": False} | limits),
            )  # fmt: skip
    said = " and ".join(sorted({f"{field.datatype}{list(field.shape)}" for field in fields}))
    raise InvalidInput("graph-mismatch", f"the steps take input {name!r} as {said}", hint="cast it in a Python step")


def _same_names(answers: list[Fields], who: str) -> list[str]:
    for answer in answers[1:]:
        if set(answer) != set(answers[0]):
            raise InvalidInput(
                "graph-mismatch",
                f"{who} give different outputs: {', '.join(answers[0])}, and {', '.join(answer)}",
                hint="choose and name them with `outputs`",
            )
    return list(answers[0])


def _common(name: str, answers: list[Fields]) -> Field:
    fields = [answer[name] for answer in answers]
    dtypes = [DTYPES[field.datatype] for field in fields]
    mixed = len({dtype.kind for dtype in dtypes}) > 1
    if mixed or len({len(field.shape) for field in fields}) > 1:
        said = " and ".join(sorted({f"{field.datatype}{list(field.shape)}" for field in fields}))
        raise InvalidInput("graph-mismatch", f"output {name!r} is {said} in steps that answer for one another")
    dtype = dtypes[0] if dtypes[0].kind == "O" else np.result_type(*dtypes)
    sizes = zip(*(field.shape for field in fields), strict=True)
    shape = tuple(size[0] if len(set(size)) == 1 else -1 for size in sizes)
    return Field(name=name, datatype=_NAMES[dtype], shape=shape, nullable=any(field.nullable for field in fields))


def _check_combined(node: Node, fields: Fields, steps: Mapping[str, Signature]) -> None:
    labels = classes_of(node, steps) is not None
    for field in fields.values():
        if node.ensemble is not None and node.ensemble.combine == "vote":
            wrong = len(field.shape) != 1
        else:
            wrong = not field.datatype.startswith("FP") and not (labels and field.name == "predictions")
        if wrong:
            raise InvalidInput(
                "graph-mismatch",
                f"an ensemble cannot {'vote on' if len(field.shape) != 1 else 'average'} output {field.name!r}",
                hint="choose others with `outputs`; labels are voted on, and follow from averaged `probabilities`",
            )


def classes_of(node: Node, steps: Mapping[str, Signature]) -> tuple[Scalar, ...] | None:
    """The labels of a classifier: what gives `predictions` and `probabilities` of the same classes in every case."""
    if node.is_leaf:
        gives = mapped(node.outputs)
        whole = not gives or all(gives.get(name) == name for name in ("predictions", "probabilities"))
        return steps[node.name].classes if whole else None
    inside = node.sequence[-1:] or children(node)
    if node.ensemble is not None and node.ensemble.combine != "mean":
        return None
    found = {classes_of(child, steps) for child in inside}
    return found.pop() if len(found) == 1 else None
