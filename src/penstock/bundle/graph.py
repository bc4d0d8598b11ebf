"""A graph of bundles: which step gets what, in which order. Values only; `docs/formats/graph.md` specifies the form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from penstock.bundle.bundle import Bundle
from penstock.bundle.manifest import MANIFEST, read_manifest
from penstock.core.errors import InvalidInput, Refused
from penstock.core.names import check_name
from penstock.core.signature import Field, Scalar

FORMAT = 1
GRAPH = "graph.json"
STEPS = "steps"
MOST_STEPS = 64
_DEEPEST = 16


class Condition(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"one_of": "in"},
):
    """What a row's value must be; with several, all of them. A missing value meets none."""

    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] = ()
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The step of the rows that meet a condition."""

    when: Condition
    step: Node


class Switch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Each row goes to the first case whose condition its value `on` meets, else to `otherwise`."""

    on: str
    cases: tuple[Case, ...]
    otherwise: Node


class Ensemble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """All members answer all rows. `each` keeps their answers apart, as `MEMBER.OUTPUT`, for a step that follows."""

    members: tuple[Node, ...]
    combine: Literal["mean", "vote", "each"] = "mean"
    weights: tuple[float, ...] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One step: exactly one of `bundle`, `python`, `sequence`, `switch` and `ensemble`.

    `inputs` says which value each input of a bundle gets (default: the one of the same name), `outputs` which of its
    outputs are given on, and as what (default: all, under their names). In a packed graph `bundle` is a digest and
    there is no `python` or `assets` any more: such a step has become a bundle.
    """

    name: str = ""
    bundle: str = ""
    python: str = ""
    assets: str = ""
    inputs: dict[str, str] | tuple[str, ...] = {}
    outputs: dict[str, str] | tuple[str, ...] = {}
    sequence: tuple[Node, ...] = ()
    switch: Switch | None = None
    ensemble: Ensemble | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether this step is a bundle, or becomes one."""
        return bool(self.bundle or self.python)


class Graph(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The steps of a graph, one after the other; `inputs` describes those that only switches look at."""

    graph: int = FORMAT
    inputs: tuple[Field, ...] = ()
    steps: tuple[Node, ...]


def mapped(names: dict[str, str] | tuple[str, ...]) -> dict[str, str]:
    """A list of names as a mapping to themselves.

    Example:
        >>> mapped(("a", "b"))
        {'a': 'a', 'b': 'b'}
    """
    return dict(names) if isinstance(names, dict) else {name: name for name in names}


def children(node: Node) -> tuple[Node, ...]:
    """The steps inside a step."""
    if node.switch is not None:
        return (*(case.step for case in node.switch.cases), node.switch.otherwise)
    return node.ensemble.members if node.ensemble is not None else node.sequence


def leaves(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """The bundles of a graph, in the order of the file."""
    for node in nodes:
        if node.is_leaf:
            yield node
        yield from leaves(children(node))


def switches(nodes: tuple[Node, ...]) -> Iterator[Switch]:
    """The switches of a graph."""
    for node in nodes:
        if node.switch is not None:
            yield node.switch
        yield from switches(children(node))


def read_graph(value: Any, name: str) -> Graph:
    """A graph from plain values, named where its author left that out; raises InvalidInput("invalid-graph").

    Example:
        >>> graph = read_graph({"graph": 1, "steps": [{"bundle": "models/churn.penstock"}]}, "graph.yaml")
        >>> graph.steps[0].name
        'churn'
    """
    try:
        graph = msgspec.convert(value, Graph)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidInput("invalid-graph", f"{name}: {str(error)[:300]}") from None
    if graph.graph != FORMAT:
        raise InvalidInput("newer-format", f"{name} has format {graph.graph}, not {FORMAT}", hint="upgrade penstock")
    if not graph.steps:
        raise InvalidInput("invalid-graph", f"{name} has no steps")
    graph = msgspec.structs.replace(graph, steps=tuple(_checked(node, name, 1) for node in graph.steps))
    names = [node.name for node in leaves(graph.steps)]
    if len(names) > MOST_STEPS:
        raise InvalidInput("invalid-graph", f"{name} has {len(names)} bundles, more than {MOST_STEPS}")
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise InvalidInput("invalid-graph", f"{name} has two steps named {twice[0]!r}", hint="give each a name")
    return graph


def _checked(node: Node, file: str, depth: int) -> Node:
    kinds = [k for k in ("bundle", "python", "sequence", "switch", "ensemble") if getattr(node, k)]
    if len(kinds) != 1:
        raise InvalidInput("invalid-graph", f"{file}: a step is one of bundle, python, sequence, switch and ensemble, "
                           f"not {' and '.join(kinds) or 'none'}")  # fmt: skip
    if depth > _DEEPEST:
        raise InvalidInput("invalid-graph", f"{file}: steps lie in one another more than {_DEEPEST} deep")
    if node.is_leaf:
        where = node.bundle or node.python.rpartition(":")[0]
        return msgspec.structs.replace(node, name=check_name(node.name or Path(where).stem, "step"))
    if node.inputs or node.outputs or node.assets:
        raise InvalidInput("invalid-graph", f"{file}: only a bundle or a Python step has inputs and outputs of its own")
    inside = tuple(_checked(child, file, depth + 1) for child in children(node))
    if node.switch is not None:
        return msgspec.structs.replace(node, switch=_checked_switch(node.switch, inside, file))
    if node.ensemble is not None:
        return msgspec.structs.replace(node, ensemble=_checked_ensemble(node.ensemble, inside, file))
    return msgspec.structs.replace(node, sequence=inside)


def _checked_switch(switch: Switch, inside: tuple[Node, ...], file: str) -> Switch:
    if not switch.cases or any(case.when == Condition() for case in switch.cases):
        raise InvalidInput("invalid-graph", f"{file}: the switch on {switch.on!r} has a case without a condition")
    cases = tuple(Case(when=case.when, step=step) for case, step in zip(switch.cases, inside[:-1], strict=True))
    return msgspec.structs.replace(switch, cases=cases, otherwise=inside[-1])


def _checked_ensemble(ensemble: Ensemble, inside: tuple[Node, ...], file: str) -> Ensemble:
    weights = ensemble.weights
    if not inside or (weights and (len(weights) != len(inside) or not all(0 < weight < 1e9 for weight in weights))):
        raise InvalidInput(
            "invalid-graph", f"{file}: an ensemble has members, and one positive weight for each or none"
        )
    if ensemble.combine == "each" and (weights or not all(node.is_leaf for node in inside)):
        raise InvalidInput(
            "invalid-graph", f"{file}: members kept apart are bundles or Python steps, and have no weights"
        )
    return msgspec.structs.replace(ensemble, members=inside)


def open_graph(path: Path) -> tuple[Graph, dict[str, Bundle]]:
    """A packed graph and its bundles, which lie beside it and were verified with the bundle that holds them all.

    Raises InvalidInput("damaged-bundle") and Refused("tampered-bundle") where a step is not the bundle that is named.
    """
    try:
        graph = read_graph(msgspec.json.decode(path.read_bytes()), path.name)
    except msgspec.DecodeError as error:
        raise InvalidInput("damaged-bundle", f"{path.name} cannot be read: {error}") from None
    bundles = {}
    for node in leaves(graph.steps):
        directory = path.parent / STEPS / node.name
        try:
            manifest = read_manifest((directory / MANIFEST).read_bytes())
        except OSError:
            raise InvalidInput("damaged-bundle", f"the graph's step {node.name!r} is missing") from None
        if manifest.digest() != node.bundle:
            raise Refused("tampered-bundle", f"the graph's step {node.name!r} is not the bundle that was packed")
        bundles[node.name] = Bundle(directory, manifest, node.bundle)
    return graph, bundles
