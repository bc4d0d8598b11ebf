"""From a graph file to one bundle that holds all its steps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from penstock.bundle.bundle import Bundle
from penstock.bundle.graph import GRAPH, Graph, leaves, read_graph, switches
from penstock.bundle.graph_fields import signature_of
from penstock.bundle.manifest import Artifact, Batching, Waiver
from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.signature import Field
from penstock.pack.choices import Choices
from penstock.pack.graph_proof import ByHand
from penstock.pack.graph_steps import PICKLES, OpenSteps, PackingFlow, PackStep, check_together, open_files, settled
from penstock.pack.remote import RemoteOriginal
from penstock.pack.sample import Sample, read_sample

SUFFIXES = (".yaml", ".yml")


def read_graph_file(path: Path) -> Graph:
    """Read a graph file; raises NotFound("unknown-file"), InvalidInput("invalid-yaml") and ("invalid-graph")."""
    from penstock.storage.yaml_text import read_yaml

    try:
        text = path.read_text()
    except FileNotFoundError:
        raise NotFound("unknown-file", f"there is no graph file at {path}") from None
    except UnicodeDecodeError:
        raise InvalidInput("invalid-yaml", f"{path} is not UTF-8 text") from None
    return read_graph(read_yaml(text, path.name), path.name)


class OpenedGraph(msgspec.Struct, frozen=True):
    """A graph whose steps are bundles now: its folder, how to pack it, and how to ask its steps by hand."""

    original: RemoteOriginal
    sample: Sample | None
    by_hand: ByHand
    bundles: dict[str, Bundle]

    @property
    def waiver(self) -> Waiver | None:
        """The first waiver among its steps: who packed them took that risk, and who serves them is told."""
        found = [(name, bundle.manifest.waiver) for name, bundle in self.bundles.items() if bundle.manifest.waiver]
        served = [(name, w) for name, w in found if self.bundles[name].manifest.served.serialization in PICKLES]
        name, waiver = next(iter(served), ("", None))
        return waiver and Waiver(reason=f"step {name}: {waiver.reason}", file_sha256=waiver.file_sha256)

    @property
    def batching(self) -> Batching | None:
        """That rows must not be batched, where one of the steps must not see strangers' rows."""
        for name, bundle in self.bundles.items():
            if not bundle.manifest.batching.allowed:
                return Batching(allowed=False, reason=f"step {name!r}: {bundle.manifest.batching.reason}")
        return None


@contextmanager
def opened_graph(graph: Graph, base: Path, data: Any, choices: Choices, pack_step: PackStep) -> Iterator[OpenedGraph]:
    """Open or pack every step, in a folder that goes when this ends.

    Raises InvalidInput("sample-missing") where a Python step gets no rows to be packed with, and ("graph-mismatch").
    """
    with tempfile.TemporaryDirectory(prefix="penstock-graph-") as name, OpenSteps() as steps:
        folder = Path(name)
        open_files(graph, base, folder, steps, allow_pickle=bool(choices.allow_pickle))
        sample = None if data is None else read_sample(data, target=choices.target, dtypes=choices.dtypes)
        if any(node.python for node in leaves(graph.steps)):
            _pack_python(graph, sample, steps, PackingFlow(steps, folder, pack_step))
        check_together(steps.bundles)
        told = graph.inputs or _only_looked_at(graph, sample)
        whole = Graph(steps=tuple(settled(node, steps.bundles) for node in graph.steps), inputs=told)
        signature = signature_of(whole, {name: bundle.manifest.signature for name, bundle in steps.bundles.items()})
        if sample is not None:
            sample = _needed(sample, [field.name for field in signature.inputs])
        (folder / GRAPH).write_bytes(canonical_json(whole))
        beside = {
            path.relative_to(folder).as_posix(): path
            for path in sorted((folder / "steps").rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        artifact = Artifact(path=f"original/{GRAPH}", runtime="graph", serialization="graph")
        original = RemoteOriginal(folder / GRAPH, artifact, beside)
        yield OpenedGraph(original, sample, ByHand(whole, steps.runs, steps.bundles), steps.bundles)


def _pack_python(graph: Graph, sample: Sample | None, steps: OpenSteps, flow: PackingFlow) -> None:
    if sample is None:
        raise InvalidInput("sample-missing", "a graph with Python steps needs a sample", hint="give --sample with rows")
    flow.sequence(graph.steps, sample.inputs)
    for node in leaves(graph.steps):
        if node.name not in steps.bundles:
            raise InvalidInput(
                "sample-missing", f"no row of the sample reaches step {node.name!r}", hint="add rows that do"
            )


def _only_looked_at(graph: Graph, sample: Sample | None) -> tuple[Field, ...]:
    """The fields of what switches look at, as the sample has them."""
    names = {switch.on for switch in switches(graph.steps)}
    return tuple(field for field in sample.fields if field.name in names) if sample is not None else ()


def _needed(sample: Sample, names: list[str]) -> Sample:
    """The sample's columns that the graph takes; what is missing is said by who compares them."""
    return msgspec.structs.replace(
        sample,
        fields=tuple(field for field in sample.fields if field.name in names),
        inputs={name: array for name, array in sample.inputs.items() if name in names},
    )
