"""Options that several commands share, as one value: a command takes the group, the command line shows its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec


class OptionGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the groups: every field is `Annotated` with its `typer.Option` and has a default."""


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer must see it: each parameter that is a group stands as the options of that group.

    Example:
        >>> class Place(OptionGroup):
        ...     host: str = "127.0.0.1"
        ...     port: int = 8080
        >>> def serve(model: str, *, place: Place) -> None:
        ...     print(model, place)
        >>> inspect.signature(spread(serve))
        <Signature (*, model: str, host: str = '127.0.0.1', port: int = 8080) -> None>
        >>> spread(serve)(model="churn", host="::1", port=1)
        churn Place(host='::1', port=1)
    """
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            groups[parameter.name] = kind
            parameters += _options(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in kind.__struct_fields__})
        command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    # What typer reads instead of the parameters of `run`; two options of one name are refused here.
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    return run


def _options(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in msgspec.structs.fields(group)
    ]
