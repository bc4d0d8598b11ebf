"""From the text of `penstock.yaml` to a spec: every fault with its place, and the nearest name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from penstock.control.meaning import check_meaning
from penstock.control.spec import VERSION, Spec
from penstock.core.errors import InvalidInput, NotFound, Unsupported
from penstock.storage.yaml_text import MOST_BYTES, read_yaml

# Known to come, so that nobody is told of a typing error; refused, so that nobody believes they are at work.
_LATER = ("monitors",)


def read_spec_file(path: Path) -> Spec:
    """Read a file; raises NotFound (`unknown-file`) and what `read_spec` raises."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        return read_spec(data.decode(), str(path))
    except UnicodeDecodeError:
        raise InvalidInput("invalid-yaml", f"{path} is not UTF-8") from None
    except OSError as error:
        raise NotFound("unknown-file", f"{path} cannot be read: {error.strerror}", hint="penstock apply FILE") from None


def read_spec(text: str, name: str = "penstock.yaml") -> Spec:
    """Read YAML (JSON is YAML).

    Raises InvalidInput (`invalid-yaml`, `invalid-spec`, `newer-format`) or Unsupported (`unsupported-field`).

    Example:
        >>> read_spec("{version: 1, endpoints: {churn: {model: churn@champion}}}").endpoints["churn"].model
        'churn@champion'
        >>> read_spec("{version: 1, endpoints: {churn: {arms: [{model: churn, weihgt: 100}]}}}")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: penstock.yaml: endpoints.churn.arms[0].weihgt: unknown field; did you mean weight? [invalid-spec]
    """  # noqa: E501 - one line, as it is printed
    return spec_of(read_yaml(text, name), name)


def spec_of(value: Any, name: str = "the spec") -> Spec:
    """A spec from plain values, checked the same way; `name` stands in messages."""
    if not isinstance(value, dict):
        raise InvalidInput("invalid-spec", f"{name}: an object was expected", hint="begin with version: 1")
    version = value.get("version")
    # Before the fields: a newer file's new field must be reported as a newer format, not as a typo.
    if type(version) is int and version > VERSION:
        raise InvalidInput(
            "newer-format", f"{name}: version {version} is newer than {VERSION}", hint="upgrade Penstock"
        )
    if version != VERSION or type(version) is not int:
        raise InvalidInput("invalid-spec", f"{name}: version: {version!r} is not {VERSION}", hint="write version: 1")
    for later in _LATER:
        if later in value:
            raise Unsupported(
                "unsupported-field", f"{name}: {later}: this version of Penstock does not have them", hint="take it out"
            )
    _walk(value, Spec, "", name)
    try:
        spec = msgspec.convert(value, Spec)
    except msgspec.ValidationError as error:
        raise InvalidInput("invalid-spec", f"{name}: {error}") from None
    check_meaning(spec, name)
    return spec


def _walk(value: Any, kind: Any, path: str, name: str) -> None:
    """Find the first fault of form, and say where; the converter's own words name no key of a dictionary."""
    kind = _fitting(value, kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        _walk_object(value, kind, path, name)
    elif origin is dict and isinstance(value, dict):
        for key, inner in value.items():
            _walk(inner, arguments[1], f"{path}.{key[:80]}".lstrip("."), name)
    elif origin is tuple and isinstance(value, list):
        for index, inner in enumerate(value):
            _walk(inner, arguments[0], f"{path}[{index}]", name)
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise InvalidInput("invalid-spec", f"{name}: {path}: {str(error)[:300]}") from None


def _fitting(value: Any, kind: Any) -> Any:
    """The part of a type that the value must be meant for: of `bool | Settings` an object is a Settings."""
    if get_origin(kind) is Annotated and get_origin(get_args(kind)[0]) in (dict, tuple):
        return get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType) and isinstance(value, dict):
        objects = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        return objects[0] if len(objects) == 1 else kind
    return kind


def _walk_object(value: Any, kind: type[msgspec.Struct], path: str, name: str) -> None:
    if not isinstance(value, dict):
        raise InvalidInput("invalid-spec", f"{name}: {path}: an object was expected, with {_listed(kind)}")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, inner in value.items():
        here = f"{path}.{key[:80]}".lstrip(".")
        if key not in fields:
            raise InvalidInput("invalid-spec", f"{name}: {here}: unknown field", hint=nearest(key, fields))
        _walk(inner, fields[key].type, here, name)
    for key, field in fields.items():
        if field.required and key not in value:
            raise InvalidInput("invalid-spec", f"{name}: {f'{path}.{key}'.lstrip('.')}: missing")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the one that was probably meant, or all of them.

    Example:
        >>> nearest("weihgt", ["name", "model", "weight"]), nearest("x", ["name", "model"])
        ('did you mean weight?', 'known are model, name')
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"


def _listed(kind: type[msgspec.Struct]) -> str:
    return ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
