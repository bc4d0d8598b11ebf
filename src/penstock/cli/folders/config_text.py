"""TensorFlow Serving's model config file: protobuf's text format of a `ModelServerConfig`.

Source: tensorflow/serving, `tensorflow_serving/config/model_server_config.proto`, and protobuf's text format language
specification. Only what the file needs is read: fields, messages, strings, whole numbers, names, lists, comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from penstock.cli.folders.policy import ModelFolder, Policy, check_policy
from penstock.core.errors import InvalidInput
from penstock.core.names import check_name

Message = dict[str, list[Any]]
_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*(?:\n\s*|\Z))*(?:
        (?P<name>[A-Za-z_][\w.]*) | (?P<number>-?[0-9]+(?![\w.])) |
        (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*') | (?P<mark>[{}<>:;,\[\]]) | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"""\\(?:([abfnrtv\\'"?])|([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2}))""")
_CONTROLS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_CLOSING = {"{": "}", "<": ">"}
_MOST_DEPTH = 20


def read_config(text: str) -> tuple[ModelFolder, ...]:
    """The models of a config file; raises InvalidInput (`invalid-model-config`) that says what is wrong, and where.

    Example:
        >>> read_config('model_config_list { config { name: "m" base_path: "/models/m" } }')[0].base_path
        '/models/m'
    """
    document = _parse(text)
    lists = _take(document, "the file", model_config_list=_message)
    configs = [
        config
        for one in lists["model_config_list"]
        for config in _take(one, "model_config_list", config=_message)["config"]
    ]
    models = tuple(_model(config) for config in configs)
    names = [model.name for model in models]
    if not models or len(set(names)) != len(names):
        raise InvalidInput("invalid-model-config", "model_config_list needs a config, and each a name of its own")
    return models


def _model(config: Message) -> ModelFolder:
    fields = _take(
        config, "config", name=_text, base_path=_text, model_platform=_text, model_type=_word,
        model_version_policy=_message, version_labels=_message,
    )  # fmt: skip
    name, base_path = _one(fields, "name", ""), _one(fields, "base_path", "")
    check_name(name, "model")
    # The platform is not asked for: what a version folder holds tells.
    if not base_path or "://" in base_path or "\0" in base_path:
        raise InvalidInput(
            "invalid-model-config", f"model {name!r}: base_path {base_path!r} is no folder of this machine"
        )
    policy = _policy(name, _one(fields, "model_version_policy", {}))
    labels: dict[str, int] = {}
    for entry in fields["version_labels"]:
        pair = _take(entry, "version_labels", key=_text, value=_number)
        labels[check_name(_one(pair, "key", ""), f"model {name!r}: label")] = _one(pair, "value", 0)
    return ModelFolder(name=name, base_path=base_path, policy=policy, labels=labels)


def _policy(name: str, message: Message) -> Policy:
    if len(message) > 1:
        raise InvalidInput("invalid-model-config", f"model {name!r}: more than one model_version_policy")
    kinds = _take(message, "model_version_policy", latest=_message, all=_message, specific=_message)
    policy = Policy()
    if kinds["latest"]:
        latest = _take(_one(kinds, "latest", {}), "latest", num_versions=_number)
        policy = Policy(count=_one(latest, "num_versions", 1))
    elif kinds["all"]:
        _take(_one(kinds, "all", {}), "all")
        policy = Policy(kind="all")
    elif kinds["specific"]:
        specific = _take(_one(kinds, "specific", {}), "specific", versions=_number)
        policy = Policy(kind="specific", versions=tuple(specific["versions"]))
    check_policy(name, policy)
    return policy


def _take(message: Message, where: str, **known: Callable[[Any], bool]) -> Message:
    """The values of each known field, checked; none where it does not stand."""
    unknown = sorted(message.keys() - known.keys())
    if unknown:
        raise InvalidInput("invalid-model-config", f"{where} has {unknown[0][:60]!r}, which is not read here")
    for field, values in message.items():
        if not all(known[field](value) for value in values):
            raise InvalidInput("invalid-model-config", f"{where}: {field} is of another kind than it has to be")
    return {field: message.get(field, []) for field in known}


def _one(fields: Message, field: str, default: Any) -> Any:
    values = fields[field]
    if len(values) > 1:
        raise InvalidInput("invalid-model-config", f"{field} stands {len(values)} times where it may stand once")
    return values[0] if values else default


class _Word(str):
    """A name in a value's place: an enum's."""

    __slots__ = ()


def _message(value: Any) -> bool:
    return type(value) is dict


def _text(value: Any) -> bool:
    return type(value) is str


def _word(value: Any) -> bool:
    return type(value) in (_Word, int)


def _number(value: Any) -> bool:
    return type(value) is int


class _Tokens:
    """The tokens of a text, one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._walk = self._all()
        self.kind, self.value, self.at = next(self._walk)

    def _all(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while True:
            found = _TOKEN.match(self._text, at)
            if found is None or found.lastgroup is None:
                raise self.wrong(at)
            yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
            at = found.end()

    def take(self) -> tuple[str, str]:
        """The token, and go on."""
        taken = self.kind, self.value
        if self.kind != "end":
            self.kind, self.value, self.at = next(self._walk)
        return taken

    def skip(self, marks: str) -> str:
        """The token if it is one of the marks, and go on; else ""."""
        return self.take()[1] if self.kind == "mark" and self.value in marks else ""

    def wrong(self, at: int | None = None) -> InvalidInput:
        """The refusal of what stands here."""
        place = self.at if at is None else at
        line = self._text.count("\n", 0, place) + 1
        return InvalidInput(
            "invalid-model-config",
            f"line {line}: {self._text[place : place + 40].strip()!r} is not understood",
            hint="the file is the text form of a ModelServerConfig",
        )


def _parse(text: str) -> Message:
    tokens = _Tokens(text)
    message = _fields(tokens, 0)
    if tokens.kind != "end":
        raise tokens.wrong()
    return message


def _fields(tokens: _Tokens, depth: int) -> Message:
    message: Message = {}
    if depth > _MOST_DEPTH:
        raise tokens.wrong()
    while tokens.kind == "name":
        _, field = tokens.take()
        colon = tokens.skip(":")
        values = message.setdefault(field, [])
        if tokens.skip("["):
            while not tokens.skip("]"):
                values.append(_value(tokens, depth))
                if not tokens.skip(",") and (tokens.kind, tokens.value) != ("mark", "]"):
                    raise tokens.wrong()
        elif colon or (tokens.kind, tokens.value) in (("mark", "{"), ("mark", "<")):
            values.append(_value(tokens, depth))
        else:
            raise tokens.wrong()
        tokens.skip(",;")
    return message


def _value(tokens: _Tokens, depth: int) -> Any:
    opening = tokens.skip("{<")
    if opening:
        message = _fields(tokens, depth + 1)
        if not tokens.skip(_CLOSING[opening]):
            raise tokens.wrong()
        return message
    if tokens.kind == "text":
        parts = []
        # Texts that follow each other are one.
        while tokens.kind == "text":
            parts.append(_ESCAPE.sub(_unescaped, tokens.take()[1][1:-1]))
        return "".join(parts)
    if tokens.kind == "number" and len(tokens.value) < 20:
        return int(tokens.take()[1])
    if tokens.kind == "name":
        return _Word(tokens.take()[1])
    raise tokens.wrong()


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return _CONTROLS.get(found[1], found[1])
    return chr(int(found[2], 8) if found[2] else int(found[3], 16))
