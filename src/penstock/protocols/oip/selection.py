"""Which outputs a call asks for, and how: the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.protocols.oip.classification import classified


class Selection:
    """Takes the requested outputs of calls to one version. A call's `style` holds the counts of classification."""

    def __init__(self, signature: Signature) -> None:
        self._known = {field.name for field in signature.outputs}
        self._classes = signature.classes
        self._batched = signature.batched

    def take(self, call: Call, outputs: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Note the outputs that are asked for, each with its parameters; raises InvalidInput."""
        counts = {}
        for name, parameters in outputs:
            if name not in self._known:
                raise InvalidInput(
                    "unknown-output",
                    f"there is no output {name[:60]!r}",
                    hint=f"this model gives {', '.join(sorted(self._known))}",
                )
            if "classification" in parameters:
                counts[name] = _count(parameters["classification"])
        call.outputs = tuple(name for name, _ in outputs)
        if counts:
            call.style = counts
        if len(set(call.outputs)) != len(call.outputs):
            raise InvalidInput("duplicate-output", "an output is requested twice")

    def shown(self, call: Call, outputs: Tensors) -> Tensors:
        """The outputs with those replaced that are asked for as classification."""
        shown = dict(outputs)
        for name, count in (call.style or {}).items():
            shown[name] = classified(name, outputs[name], count, self._classes, batched=self._batched)
        return shown


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise InvalidInput("invalid-value", f"classification is {str(value)[:40]!r}, not a number of classes from 1 on")
    return value
