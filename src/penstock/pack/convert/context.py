"""The hand that a converter holds: the graph, the arithmetic it writes, and the way to convert an inner estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.graph import ELEMENT_TYPES, Graph
from penstock.pack.convert.values import TEXT, Classified, Frame, Value, float_dtype

Transform = Callable[["Context", Any, Frame], Frame]
Classify = Callable[["Context", Any, Frame], Classified]
Regress = Callable[["Context", Any, Frame], Value]


class Rules(msgspec.Struct, frozen=True):
    """Which function converts which class, by `package.ClassName`; exact classes only, for a subclass may differ."""

    transforms: Mapping[str, Transform]
    classifiers: Mapping[str, Classify]
    regressors: Mapping[str, Regress]


def class_name(estimator: Any) -> str:
    """`package.ClassName` of an estimator.

    Example:
        >>> import pathlib
        >>> class_name(pathlib.PurePosixPath())
        'pathlib.PurePosixPath'
    """
    kind = type(estimator)
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"


class Context:
    """Converts estimators into one graph."""

    def __init__(self, graph: Graph, rules: Rules, used: set[str]) -> None:
        self.graph = graph
        self._rules = rules
        # The packages whose converters had a part in the graph.
        self.used = used
        # What a person should know about the graph's arithmetic.
        self.notes: set[str] = set()

    # Inner estimators -------------------------------------------------------------------------------------------

    def transform(self, estimator: Any, x: Frame) -> Frame:
        """What `estimator.transform` gives for x."""
        if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
            return x
        rule: Transform = self._rule(self._rules.transforms, estimator)
        return rule(self, estimator, x)

    def classify(self, estimator: Any, x: Frame) -> Classified:
        """What a classifier says about x."""
        rule: Classify = self._rule(self._rules.classifiers, estimator)
        return rule(self, estimator, x)

    def regress(self, estimator: Any, x: Frame) -> Value:
        """What a regressor says about x: [rows] or [rows, targets]."""
        rule: Regress = self._rule(self._rules.regressors, estimator)
        return rule(self, estimator, x)

    def _rule(self, rules: Mapping[str, Any], estimator: Any) -> Any:
        name = class_name(estimator)
        self.used.add(name.split(".")[0])
        rule = rules.get(name)
        if rule is None:
            raise CannotConvert(f"there is no converter for {name}")
        return rule

    # Frames -----------------------------------------------------------------------------------------------------

    def matrix(self, x: Frame, dtype: str | None = None) -> Value:
        """The frame as one matrix of `dtype` (default: the float dtype scikit-learn would choose)."""
        dtype = dtype or float_dtype(x)
        if TEXT in x.dtypes:
            raise CannotConvert("a step that computes with numbers is given text")
        # Neighbours of one dtype are joined before the cast: a table of fifty columns costs one cast, not fifty.
        groups: list[list[Value]] = []
        for value in x.values:
            if groups and groups[-1][0].dtype == value.dtype:
                groups[-1].append(value)
            else:
                groups.append([value])
        return self.join([self.cast(self.join(group), dtype) for group in groups])

    def join(self, values: list[Value]) -> Value:
        """Values of one dtype side by side."""
        if len(values) == 1:
            return values[0]
        name = self.graph.op("Concat", *(value.name for value in values), axis=1)
        nullable = any(value.nullable for value in values)
        return Value(name, values[0].dtype, sum(value.width for value in values), nullable)

    def columns(self, x: Frame) -> list[Value]:
        """The frame's columns, one value each."""
        return [column for value in x.values for column in self._split(value)]

    def select(self, x: Frame, positions: list[int]) -> Frame:
        """Some columns of the frame, in the order given."""
        owners = [(value, offset) for value in x.values for offset in range(value.width)]
        groups: list[tuple[Value, list[int]]] = []
        for position in positions:
            value, offset = owners[position]
            if groups and groups[-1][0].name == value.name:
                groups[-1][1].append(offset)
            else:
                groups.append((value, [offset]))
        return Frame(tuple(self.take(value, offsets) for value, offsets in groups), x.table)

    def take(self, value: Value, offsets: list[int]) -> Value:
        """Some columns of a value."""
        if offsets == list(range(value.width)):
            return value
        name = self.graph.op("Gather", value.name, self.graph.constant(np.array(offsets)), axis=1)
        return Value(name, value.dtype, len(offsets), value.nullable)

    def _split(self, value: Value) -> list[Value]:
        return [self.take(value, [offset]) for offset in range(value.width)]

    # Arithmetic -------------------------------------------------------------------------------------------------

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in another dtype."""
        if value.dtype == dtype:
            return value
        if TEXT in (value.dtype, dtype):
            raise CannotConvert("a step turns text into numbers, or numbers into text")
        name = self.graph.op("Cast", value.name, to=ELEMENT_TYPES[dtype])
        return Value(name, dtype, value.width)

    def apply(self, kind: str, value: Value, *constants: Any, dtype: str | None = None, **attributes: Any) -> Value:
        """An operation on a value and constants, elementwise or along its columns; constants take the value's dtype."""
        names = [self.graph.constant(np.asarray(constant, value.dtype)) for constant in constants]
        name = self.graph.op(kind, value.name, *names, **attributes)
        return Value(name, dtype or value.dtype, value.width)

    def combine(self, kind: str, left: Value, right: Value, **attributes: Any) -> Value:
        """An operation on two values of equal dtype."""
        name = self.graph.op(kind, left.name, right.name, **attributes)
        return Value(name, left.dtype, max(left.width, right.width))

    def affine(self, value: Value, weights: Any, bias: Any) -> Value:
        """`value @ weights + bias` in the value's dtype; weights are [width, outputs]."""
        weights = np.asarray(weights, value.dtype)
        bias = np.broadcast_to(np.asarray(bias, value.dtype), weights.shape[1:])
        name = self.graph.op("Gemm", value.name, self.graph.constant(weights), self.graph.constant(bias))
        return Value(name, value.dtype, weights.shape[1])

    def largest(self, value: Value, *, last: bool = False) -> Value:
        """The index of each row's largest column, the first (or last) of equal ones."""
        name = self.graph.op("ArgMax", value.name, axis=1, keepdims=0, select_last_index=int(last))
        return Value(name, "int64", 0)

    def flat(self, value: Value) -> Value:
        """[rows, 1] as [rows]."""
        if value.width == 0:
            return value
        return Value(self.graph.op("Squeeze", value.name, self.graph.constant(np.array([1]))), value.dtype, 0)
