"""From a fitted estimator to an ONNX model that answers the same."""

from penstock.pack.convert.builtin import uses_builtin_operators
from penstock.pack.convert.candidate import Candidate, CannotConvert
from penstock.pack.convert.convert import candidates

__all__ = ["Candidate", "CannotConvert", "candidates", "uses_builtin_operators"]
