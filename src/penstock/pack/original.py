"""The model as it was given: what packing must know about it and ask of it, wherever it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from penstock.bundle.manifest import Artifact, Runtime
from penstock.core.signature import Scalar, Signature
from penstock.core.tensors import Tensors
from penstock.pack.convert import Candidate
from penstock.pack.lock import Lock


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a trained model says about itself.

    `features` are the names it was trained with, `width` how many there were; `categories` the values that its
    encoders know, by column; `options` are for its adapter; `declared` is the signature of a graph that has one;
    `texts` are made-up ones, such as a model of language is given in place of anybody's.
    """

    runtime: Runtime
    kind: str
    classes: tuple[Scalar, ...] | None = None
    probabilities: bool = False
    features: tuple[str, ...] | None = None
    width: int | None = None
    categories: dict[str, tuple[Scalar, ...]] = {}
    parameters: dict[str, Any] = {}
    distributions: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    declared: Signature | None = None
    texts: tuple[str, ...] = ()


class Original(Protocol):
    """A trained model in this process, or in a child process when it came as a file.

    `lock` is the environment that it brought along, and None for what runs in this one.
    """

    description: Description
    lock: Lock | None

    def probe(self, draft: Signature, inputs: Tensors, options: dict[str, Any]) -> Tensors:
        """What the model answers before anybody knows its outputs; `draft` has no outputs yet."""
        ...

    def bind(self, signature: Signature, options: dict[str, Any]) -> None:
        """Fix the signature; `run`, `convert` and `seconds` follow it."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """Answer as the adapter that would serve this model answers; raises ModelFailed."""
        ...

    def seconds(self, inputs: Tensors) -> float:
        """The time of one `run` of these inputs, measured where the model is."""
        ...

    def convert(self) -> tuple[list[Candidate], str]:
        """ONNX forms of the model in order of preference; without any, the reason."""
        ...

    def store(self, folder: Path) -> Artifact:
        """Write the model below `folder`, the bundle's root; the artifact's path is relative to it."""
        ...

    def close(self) -> None:
        """Let go of the model. Calling it twice does nothing."""
        ...
