"""YAML as a way to write JSON: the part of it that means one thing, and nothing that runs, refers or explodes.

Read from the parser's events, so nothing is built before it is allowed. Plain words mean what YAML 1.2's core schema
says (https://yaml.org/spec/1.2.2/#103-core-schema): `no` is the text "no", `12:30` the text "12:30".
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from penstock.core.errors import InvalidInput

MOST_BYTES = 2**20
DEEPEST = 64
MOST_DIGITS = 18

_WORDS = {"": None, "~": None, **dict.fromkeys(("null", "Null", "NULL"))}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# In C where PyYAML was built with it, as its wheels are: the other takes seconds for a megabyte.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str, name: str) -> Any:
    r"""The value in `text`: objects with text as keys, lists, text, finite numbers, booleans and None.

    `name` is the file's, for messages. Raises InvalidInput (`invalid-yaml`) with the line for what is no YAML, and for
    tags, anchors, aliases, a key that stands twice, a second document, numbers that JSON lacks or that are read
    differently elsewhere, more than 1 MB, and nesting deeper than 64.

    Example:
        >>> read_yaml("model: churn\nweights: [90, 1e1]\nkeep: no", "penstock.yaml")
        {'model': 'churn', 'weights': [90, 10.0], 'keep': 'no'}
        >>> read_yaml("a: 1\na: 2", "a.yaml")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: a.yaml line 2: the key 'a' stands twice, first in line 1 [invalid-yaml]
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("invalid-yaml", f"{name} is not text that UTF-8 can hold") from None
    if size > MOST_BYTES:
        raise InvalidInput("invalid-yaml", f"{name} has {size} bytes, more than {MOST_BYTES}")
    reading = _Reading(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reading.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidInput(
            "invalid-yaml", f"{name}{f' line {mark.line + 1}' if mark else ''}: {str(problem)[:200]}"
        ) from None
    return reading.value


class _Open:
    """An object or a list whose end was not read yet; `key` waits for its value."""

    def __init__(self, is_object: bool) -> None:
        self.items: dict[str, Any] | list[Any] = {} if is_object else []
        self.lines: dict[str, int] = {}
        self.key: str | None = None


class _Reading:
    """The value so far. A stack instead of recursion, so that depth is a rule and not a crash."""

    def __init__(self, name: str) -> None:
        self.value: Any = None
        self._name = name
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._wrong(line, "anchors and aliases (& and *) are not taken", "write the value out")
        if getattr(event, "tag", None) is not None:
            raise self._wrong(line, f"the tag {event.tag[:60]!r} is not taken", "leave it out")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(line, "a second document begins", "one file holds one document")
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(isinstance(event, yaml.MappingStartEvent), line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._add(self._open.pop().items, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)

    def _begin(self, is_object: bool, line: int) -> None:
        if len(self._open) == DEEPEST:
            raise self._wrong(line, f"nested deeper than {DEEPEST}")
        if self._expects_key():
            raise self._wrong(line, "a key must be text")
        self._open.append(_Open(is_object))

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].items, dict) and self._open[-1].key is None

    def _scalar(self, event: Any, line: int) -> None:
        if not self._expects_key():
            self._add(self._resolved(event.value, line) if event.implicit[0] else event.value, line)
            return
        # A key is what is written: `7:` and `"7":` are one key, as they are in JSON.
        around, key = self._open[-1], event.value
        if key in around.lines:
            raise self._wrong(line, f"the key {key[:60]!r} stands twice, first in line {around.lines[key]}")
        around.key, around.lines[key] = key, line

    def _resolved(self, text: str, line: int) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            digits = text.lstrip("+-")
            if len(digits) > 1 and digits[0] == "0":
                raise self._wrong(
                    line, f"{text[:40]} is octal to some readers of YAML", "put it in quotes if it is text"
                )
            if len(digits) > MOST_DIGITS:
                raise self._wrong(line, f"a number of {len(digits)} digits", "put it in quotes if it is text")
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
        elif not _NOT_FINITE.fullmatch(text):
            return text
        raise self._wrong(line, f"{text[:40]} is no finite number", "put it in quotes if it is text")

    def _add(self, value: Any, line: int) -> None:
        if not self._open:
            self.value = value
            return
        around = self._open[-1]
        if isinstance(around.items, list):
            around.items.append(value)
        elif around.key is not None:
            around.items[around.key], around.key = value, None

    def _wrong(self, line: int, what: str, hint: str = "") -> InvalidInput:
        return InvalidInput("invalid-yaml", f"{self._name} line {line}: {what}", hint=hint)
