"""The steps of a graph while it is packed: each bundle opened where it can be asked, each Python step made a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import msgspec

from penstock.bundle.bundle import Bundle, open_bundle
from penstock.bundle.graph import STEPS, Case, Graph, Node, children, leaves, mapped
from penstock.bundle.manifest import MANIFEST
from penstock.core.errors import InvalidInput, Refused, Unavailable, Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.remote import Child
from penstock.pack.sample import Sample, tensors_sample
from penstock.runtime.environment import pins_of
from penstock.runtime.frameworks.graph import Flow, Parameters, Step
from penstock.runtime.load import load_model

PICKLES = ("pickle", "joblib")
PackStep = Callable[[Node, Sample, Path], Path]


class OpenSteps:
    """The bundles of a graph below a folder, each ready to be asked by itself. It is a context."""

    def __init__(self) -> None:
        self.bundles: dict[str, Bundle] = {}
        self.runs: dict[str, Step] = {}
        self._stack = ExitStack()

    def add(self, name: str, bundle: Bundle) -> None:
        """Open one: here if it holds no code, else in a process of its own."""
        self.bundles[name] = bundle
        if bundle.manifest.holds_no_code:
            model = load_model(bundle)
            self._stack.callback(model.close)
            self.runs[name] = Step(name, bundle, model.run)
            return
        served, signature = bundle.manifest.served, bundle.manifest.signature
        child = self._stack.enter_context(Child())
        child.ask(
            "load",
            path=str(bundle.path(served.path)),
            artifact=msgspec.to_builtins(served),
            signature=msgspec.to_builtins(signature),
            allow_pickle=True,
        )
        self.runs[name] = Step(name, bundle, lambda inputs, parameters: child.ask("answer", inputs)[0])

    def __enter__(self) -> OpenSteps:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class PackingFlow(Flow):
    """Sends the sample through a graph. A Python step is packed when rows reach it, with those rows as its sample."""

    def __init__(self, steps: OpenSteps, folder: Path, pack_step: PackStep) -> None:
        super().__init__(steps.runs)
        self._open, self._folder, self._pack = steps, folder, pack_step

    @property
    def signatures(self) -> dict[str, Signature]:
        """See `Flow.signatures`; raises InvalidInput("sample-missing") for a step that no row has reached yet."""
        return _Reached({name: step.signature for name, step in self.steps.items()})

    def leaf(self, node: Node, values: Tensors, parameters: Parameters) -> Tensors:
        """See `Flow.leaf`."""
        if node.name not in self._open.bundles:
            wanted = mapped(node.inputs) or {name: name for name in values if "." not in name}
            if missing := [value for value in wanted.values() if value not in values]:
                raise InvalidInput("graph-mismatch", f"step {node.name!r} asks for {missing[0]!r}, which is not there",
                                   hint=f"there are {', '.join(values)}")  # fmt: skip
            sample = tensors_sample({name: values[value] for name, value in wanted.items()})
            bundle = stored(self._pack(node, sample, self._folder), self._folder / STEPS / node.name, self._folder)
            self._open.add(node.name, bundle)
        return super().leaf(node, values, parameters)


class _Reached(dict[str, Signature]):
    def __missing__(self, name: str) -> Signature:
        raise InvalidInput("sample-missing", f"no row of the sample reaches step {name!r}", hint="add rows that do")


def stored(path: Path, target: Path, scratch: Path) -> Bundle:
    """Copy a verified bundle to where the graph keeps it; raises Unsupported("unsupported-step")."""
    bundle = open_bundle(path, scratch / "cache")
    if not bundle.manifest.signature.batched or bundle.manifest.served.runtime == "graph":
        what = "a graph itself" if bundle.manifest.signature.batched else "without a variable first axis"
        raise Unsupported("unsupported-step", f"{path.name} cannot be a step: it is {what}")
    for name in (MANIFEST, *bundle.manifest.files):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.directory / name, target / name)
    return Bundle(target, bundle.manifest, bundle.digest)


def open_files(graph: Graph, base: Path, folder: Path, steps: OpenSteps, *, allow_pickle: bool) -> None:
    """Open every bundle that the graph names by its file, relative to `base`; raises Refused("pickle-refused")."""
    for node in leaves(graph.steps):
        if not node.bundle:
            continue
        bundle = stored(base / node.bundle, folder / STEPS / node.name, folder)
        if bundle.manifest.served.serialization in PICKLES and not allow_pickle:
            raise Refused(
                "pickle-refused",
                f"step {node.name!r} is served as a pickle: opening it runs whatever code its author put in it",
                hint='if you trust where it comes from, say why: allow_pickle="reason"',
            )
        steps.add(node.name, bundle)


def settled(node: Node, bundles: dict[str, Bundle]) -> Node:
    """The step as it stands in the bundle: by digest, with the names of its inputs written out."""
    if node.is_leaf:
        return msgspec.structs.replace(
            node, bundle=bundles[node.name].digest, python="", assets="",
            inputs=mapped(node.inputs), outputs=mapped(node.outputs),
        )  # fmt: skip
    inside = tuple(settled(child, bundles) for child in children(node))
    if node.switch is not None:
        cases = tuple(Case(when=c.when, step=step) for c, step in zip(node.switch.cases, inside[:-1], strict=True))
        switch = msgspec.structs.replace(node.switch, cases=cases, otherwise=inside[-1])
        return msgspec.structs.replace(node, switch=switch)
    if node.ensemble is not None:
        return msgspec.structs.replace(node, ensemble=msgspec.structs.replace(node.ensemble, members=inside))
    return msgspec.structs.replace(node, sequence=inside)


def check_together(bundles: dict[str, Bundle]) -> None:
    """Refuse steps that cannot run in one process: other package versions than here, modules of one name.

    Raises Unavailable("graph-environment") and Unsupported("graph-modules").
    """
    modules: dict[str, tuple[str, str]] = {}
    for name, bundle in bundles.items():
        manifest = bundle.manifest
        for package, version in pins_of(bundle.path(manifest.environment.requirements).read_text()).items():
            if (here := _version(package)) != version and not manifest.holds_no_code:
                raise Unavailable(
                    "graph-environment",
                    f"step {name!r} needs {package}=={version}, here is {here}: all steps run in one environment",
                    hint="pack the step again with the versions that the other steps have",
                )
        for path, entry in manifest.files.items():
            if manifest.served.runtime != "python" or not path.endswith(".py") or path == manifest.served.path:
                continue
            other, digest = modules.setdefault(path, (name, entry.sha256))
            if digest != entry.sha256:
                raise Unsupported(
                    "graph-modules",
                    f"steps {other!r} and {name!r} bring different modules as {Path(path).name}",
                    hint="give one of them another name: both are imported in one process",
                )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "nothing"
