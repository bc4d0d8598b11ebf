"""The proof of a graph: each row alone is taken through the steps by hand, and the graph must answer the same.

This is a second, slower way to the answer that shares no code with the first but the steps themselves: nothing is
batched, split or put together here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock.bundle.bundle import Bundle
from penstock.bundle.graph import Condition, Graph, Node, mapped
from penstock.bundle.graph_fields import classes_of
from penstock.bundle.manifest import Evidence
from penstock.core.errors import ModelFailed
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.equivalence import Run, answered_rows, compare_answers, join, take
from penstock.runtime.frameworks.graph import Step

_ROWS = 256


class ByHand:
    """One row through the steps of a graph."""

    def __init__(self, graph: Graph, runs: Mapping[str, Step], bundles: Mapping[str, Bundle]) -> None:
        self._graph = graph
        self._runs = runs
        self._signatures = {name: bundle.manifest.signature for name, bundle in bundles.items()}

    def row(self, row: Tensors) -> Tensors:
        """What the steps make of it, each value an array of one row."""
        return self._node(Node(sequence=self._graph.steps), row)

    def _node(self, node: Node, values: Tensors) -> Tensors:
        if node.bundle:
            return self._leaf(node, values)
        if node.switch is not None:
            value = values[node.switch.on].item()
            for case in node.switch.cases:
                if _holds(case.when, value):
                    return self._node(case.step, values)
            return self._node(node.switch.otherwise, values)
        if node.ensemble is not None:
            return self._together(node, [self._node(member, values) for member in node.ensemble.members])
        given: Tensors = {}
        for step in node.sequence:
            given = self._node(step, values)
            values = values | given
        return given

    def _leaf(self, node: Node, values: Tensors) -> Tensors:
        names = mapped(node.inputs)
        takes = {f.name: values[names.get(f.name, f.name)] for f in self._signatures[node.name].inputs}
        answer = self._runs[node.name](takes, None)
        return {new: answer[old] for old, new in mapped(node.outputs).items()} or answer

    def _together(self, node: Node, answers: list[Tensors]) -> Tensors:
        ensemble = node.ensemble
        assert ensemble is not None  # noqa: S101 - who calls has looked
        weights = ensemble.weights or (1.0,) * len(answers)
        if ensemble.combine == "each":
            names = [member.name for member in ensemble.members]
            return {f"{name}.{key}": a[key] for name, a in zip(names, answers, strict=True) for key in a}
        if ensemble.combine == "vote":
            return {name: np.asarray([_most([a[name].item() for a in answers], weights)]) for name in answers[0]}
        classes = classes_of(node, self._signatures)
        mean = {
            name: np.average([a[name].astype(np.float64) for a in answers], axis=0, weights=weights)
            for name in answers[0]
            if classes is None or name != "predictions"
        }
        if classes is not None:
            mean["predictions"] = np.asarray([classes[int(np.argmax(mean["probabilities"][0]))]])
        return mean


def _holds(condition: Condition, value: Any) -> bool:
    if value is None or value != value:
        return False
    return (
        (condition.equals is None or value == condition.equals)
        and (not condition.one_of or value in condition.one_of)
        and (condition.below is None or value < condition.below)
        and (condition.at_most is None or value <= condition.at_most)
        and (condition.above is None or value > condition.above)
        and (condition.at_least is None or value >= condition.at_least)
    )


def _most(votes: list[Any], weights: tuple[float, ...]) -> Any:
    found: dict[Any, float] = defaultdict(float)
    for one, weight in zip(votes, weights, strict=True):
        found[one] += weight
    return max(votes, key=lambda one: found[one])


def prove(by_hand: ByHand, run: Run, rows: Tensors, signature: Signature) -> Evidence:
    """Compare the graph with its steps run by hand; raises ModelFailed("graph-differs")."""
    kept, _ = answered_rows(run, take(rows, slice(0, _ROWS)))
    if not kept:
        raise ModelFailed("sample-refused", "the graph answers no row of the sample")
    ((rows, got),) = kept
    count = len(next(iter(rows.values())))
    want = join(by_hand.row(take(rows, slice(number, number + 1))) for number in range(count))
    want = {f.name: _like(want[f.name], got[f.name]) for f in signature.outputs}
    found = compare_answers(want, got, signature)
    if not found.equal:
        what = found.problem or ("labels differ" if not found.labels_equal else "scores differ")
        raise ModelFailed("graph-differs", f"the graph does not answer what its steps answer one by one: {what}",
                          hint="a step's answer to a row may depend on the rows beside it")  # fmt: skip
    return Evidence(
        converted=False,
        reason="the graph answers what its steps answer, each row alone and one after the other",
        rows_compared=found.rows,
        labels_equal=found.labels_equal,
        largest_difference=found.largest_difference,
        ties=found.ties,
    )


def _like(want: Any, got: Any) -> Any:
    # A mean by hand is in double precision, and labels made from a list have no text datatype of ours.
    return want.astype(got.dtype) if want.dtype.kind == got.dtype.kind or got.dtype.kind == "O" else want
