"""What a conversion gives: ONNX forms of an estimator, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.bundle.manifest import Runtime


class CannotConvert(Exception):
    """The estimator has no ONNX form that is known to be exact; the message tells a person why.

    It is no failure of packing: the original is then served as it is.
    """


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One ONNX form of an estimator, still to be proven equal by whoever serves it.

    `name` is the arithmetic of the graph, `converter` the version of every package whose work is in it. `runtime`
    opens the graph with `options`; `beside` are the original's files that it needs next to the graph.
    """

    name: str
    model: bytes
    converter: dict[str, str]
    note: str = ""
    runtime: Runtime = "onnx"
    options: dict[str, Any] = {}
    beside: tuple[str, ...] = ()
