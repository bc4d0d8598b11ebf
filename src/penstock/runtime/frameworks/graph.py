"""Graphs of bundles: their steps run one after the other in this process, each bound to its own signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.bundle.bundle import Bundle
from penstock.bundle.graph import Condition, Ensemble, Graph, Node, Switch, mapped, open_graph
from penstock.bundle.graph_fields import classes_of, given_names, node_outputs, signature_of
from penstock.bundle.manifest import Artifact
from penstock.core.binding import Binder
from penstock.core.errors import InvalidInput, ModelFailed, Refused
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import DTYPES, Array, Tensors
from penstock.runtime.frameworks.tabular import Outputs
from penstock.runtime.model import Model

Parameters = Mapping[str, Any] | None
Run = Callable[[Tensors, Parameters], Tensors]


class Step:
    """A bundle's `run` behind its signature: what reaches it has its datatypes, and values that it can take."""

    def __init__(self, name: str, bundle: Bundle, run: Run) -> None:
        manifest = bundle.manifest
        self.signature = manifest.signature
        self._name = name
        self._run = run
        self._text_only = manifest.text_only
        self._bind = Binder(manifest.signature, text_only=self._text_only)

    def __call__(self, inputs: Tensors, parameters: Parameters, given: frozenset[str] = frozenset()) -> Tensors:
        """Answer; `given` are the inputs that come from other steps, which no caller is to blame for.

        Raises InvalidInput for a value of the caller's, ModelFailed("step-refused") for one of another step's.
        """
        try:
            bound, _ = self._bind(inputs)
        except InvalidInput as error:
            said = f"step {self._name!r}: {error.message}"
            if given and all(field.name in given or self._takes(field, inputs) for field in self.signature.inputs):
                raise ModelFailed("step-refused", said) from None
            raise InvalidInput(error.code, said, hint=error.hint) from None
        return self._run(bound, parameters)

    def _takes(self, field: Field, inputs: Tensors) -> bool:
        alone = msgspec.structs.replace(self.signature, inputs=(field,))
        try:
            Binder(alone, text_only=self._text_only)({field.name: inputs[field.name]})
        except InvalidInput:
            return False
        return True


class Flow:
    """Sends rows through the steps. What a row gets never depends on the rows beside it, if no step does so."""

    def __init__(self, steps: Mapping[str, Step], given: frozenset[str] = frozenset()) -> None:
        self.steps = steps
        self._given = given

    @property
    def signatures(self) -> dict[str, Signature]:
        """The signature of every step."""
        return {name: step.signature for name, step in self.steps.items()}

    def sequence(self, nodes: tuple[Node, ...], values: Tensors, parameters: Parameters = None) -> Tensors:
        """One step after the other; each sees the values given to the first and all that came since."""
        given: Tensors = {}
        for node in nodes:
            given = self.node(node, values, parameters)
            values = {**values, **given}
        return given

    def node(self, node: Node, values: Tensors, parameters: Parameters) -> Tensors:
        """What one step gives for these rows."""
        if node.switch is not None:
            return self._switch(node, node.switch, values, parameters)
        if node.ensemble is not None:
            return self._ensemble(node, node.ensemble, values, parameters)
        if node.sequence:
            return self.sequence(node.sequence, values, parameters)
        return self.leaf(node, values, parameters)

    def leaf(self, node: Node, values: Tensors, parameters: Parameters) -> Tensors:
        """What one bundle gives, under the names that the graph has for it."""
        wanted, step = mapped(node.inputs), self.steps[node.name]
        names = {field.name: wanted.get(field.name, field.name) for field in step.signature.inputs}
        given = frozenset(name for name, value in names.items() if value in self._given)
        answer = step({name: values[value] for name, value in names.items()}, parameters, given)
        chosen = mapped(node.outputs)
        return {given: answer[name] for name, given in chosen.items()} if chosen else answer

    def _switch(self, node: Node, switch: Switch, values: Tensors, parameters: Parameters) -> Tensors:
        on = values[switch.on]
        left: NDArray[np.intp] = np.arange(len(on))
        parts: list[tuple[Array, Tensors]] = []
        for condition, step in [*((case.when, case.step) for case in switch.cases), (None, switch.otherwise)]:
            met = meets(condition, on[left]) if condition is not None else np.ones(len(left), np.bool_)
            chosen, left = left[met], left[~met]
            if len(chosen):
                parts.append((chosen, self.node(step, _rows(values, chosen), parameters)))
        # Back in the order in which they came.
        order = np.argsort(np.concatenate([chosen for chosen, _ in parts]))
        # One datatype whichever cases these rows met, or an answer would depend on its neighbours.
        dtypes = {field.name: DTYPES[field.datatype] for field in node_outputs(node, self.signatures).values()}
        return {
            name: np.concatenate([answer[name].astype(dtype, copy=False) for _, answer in parts])[order]
            for name, dtype in dtypes.items()
        }

    def _ensemble(self, node: Node, ensemble: Ensemble, values: Tensors, parameters: Parameters) -> Tensors:
        answers = [self.node(member, values, parameters) for member in ensemble.members]
        if ensemble.combine == "each":
            named = zip(ensemble.members, answers, strict=True)
            return {f"{member.name}.{name}": array for member, answer in named for name, array in answer.items()}
        weights = ensemble.weights or (1.0,) * len(answers)
        if ensemble.combine == "vote":
            return {name: vote([answer[name] for answer in answers], weights) for name in answers[0]}
        fields = node_outputs(node, self.signatures)
        classes = classes_of(node, self.signatures)
        means = {
            name: mean([answer[name] for answer in answers], weights).astype(DTYPES[field.datatype])
            for name, field in fields.items()
            if classes is None or name != "predictions"
        }
        if classes is not None:
            labels = _labels(classes, DTYPES[fields["predictions"].datatype])
            means["predictions"] = labels[means["probabilities"].argmax(axis=1)]
        return {name: means[name] for name in fields}


def meets(condition: Condition, values: Array) -> NDArray[np.bool_]:
    """Which values meet a condition.

    Example:
        >>> meets(Condition(at_least=2, below=4), np.array([1.0, 2.0, np.nan, 4.0])).tolist()
        [False, True, False, False]
    """
    met = np.ones(len(values), np.bool_)
    if values.ndim != 1:
        raise InvalidInput("graph-mismatch", f"a switch needs one value for each row, not shape {list(values.shape)}")
    chosen = ((condition.equals,) if condition.equals is not None else ()), condition.one_of
    for wanted in filter(None, chosen):
        met &= np.fromiter((value in wanted for value in values.tolist()), np.bool_, len(values))
    limits = (condition.below, np.less), (condition.at_most, np.less_equal), (condition.above, np.greater), (
        condition.at_least, np.greater_equal
    )  # fmt: skip
    for limit, compare in limits:
        if limit is not None:
            if values.dtype.kind not in "biuf":
                raise InvalidInput("graph-mismatch", "a switch compares numbers, and its value is text")
            met &= np.asarray(compare(values, limit), np.bool_)
    return met


def mean(arrays: list[Array], weights: tuple[float, ...]) -> Array:
    """The weighted mean, in double precision and in the order of the members.

    Example:
        >>> mean([np.array([1.0, 2.0]), np.array([3.0, 6.0])], (1.0, 3.0)).tolist()
        [2.5, 5.0]
    """
    total = sum(array.astype(np.float64) * weight for array, weight in zip(arrays, weights, strict=True))
    return np.asarray(total / sum(weights))


def vote(arrays: list[Array], weights: tuple[float, ...]) -> Array:
    """What most members say for each row, by weight; where they tie, the first of those.

    Example:
        >>> vote([np.array([1, 2]), np.array([3, 2]), np.array([3, 1])], (1.0, 1.0, 1.0)).tolist()
        [3, 2]
    """
    votes = np.stack(arrays)
    support = np.stack([np.tensordot(weights, np.asarray(votes == mine, np.float64), 1) for mine in votes])
    chosen: Array = votes[support.argmax(axis=0), np.arange(votes.shape[1])]
    return chosen


def _labels(classes: tuple[Scalar, ...], dtype: np.dtype[Any]) -> Array:
    labels: Array = np.empty(len(classes), object)
    labels[:] = classes
    return labels.astype(dtype)


def _rows(values: Tensors, rows: Array) -> Tensors:
    return {name: array[rows] for name, array in values.items()}


class GraphModel:
    """A graph with its bundles in memory."""

    def __init__(self, graph: Graph, models: Mapping[str, Model], bundles: Mapping[str, Bundle],
                 signature: Signature) -> None:  # fmt: skip
        self._graph = graph
        self._models = dict(models)
        steps = {name: Step(name, bundles[name], model.run) for name, model in models.items()}
        self._flow = Flow(steps, given_names(graph.steps, {name: step.signature for name, step in steps.items()}))
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Parameters = None) -> Tensors:
        """See `Model.run`; parameters go to every step that takes some."""
        answer = self._flow.sequence(self._graph.steps, inputs, parameters)
        return self._outputs.pack(answer, len(next(iter(inputs.values()))))

    def close(self) -> None:
        """Free every step."""
        for model in self._models.values():
            model.close()


class OpenGraph:
    """A packed graph that was opened: its plan, its bundles, and their models."""

    def __init__(self, path: Path, *, allow_pickle: bool, no_code: bool) -> None:
        # Here, because loading is what imports this module.
        from penstock.runtime.load import load_model

        self.graph, self.bundles = open_graph(path)
        self.signature = signature_of(self.graph, {n: b.manifest.signature for n, b in self.bundles.items()})
        if no_code and (name := next((n for n, b in self.bundles.items() if not b.manifest.holds_no_code), None)):
            raise Refused("tampered-bundle", f"the bundle says that it holds no code, and its step {name!r} does")
        self.models: dict[str, Model] = {}
        try:
            for name, bundle in self.bundles.items():
                self.models[name] = load_model(bundle, allow_pickle=allow_pickle)
        except BaseException:
            for model in self.models.values():
                model.close()
            raise


def open_estimator(path: Path, *, allow_pickle: bool = False, no_code: bool = False) -> OpenGraph:
    """Open the graph at `path` and load its steps; `allow_pickle` as in `sklearn.open_estimator`."""
    return OpenGraph(path, allow_pickle=allow_pickle, no_code=no_code)


def load(path: Path, artifact: Artifact, signature: Signature, *, allow_pickle: bool = False,
         no_code: bool = False) -> GraphModel:  # fmt: skip
    """Load the graph; with `no_code` one that has a step of Python is refused, as it was said to have none."""
    opened = open_estimator(path, allow_pickle=allow_pickle, no_code=no_code)
    return GraphModel(opened.graph, opened.models, opened.bundles, signature)
