"""Settings of a class, read off its constructor, so that a number has one home and its default stands once."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from robot_ctrl.errors import ConfigError, unknown


@cache
def settings_model(factory: Callable[..., Any]) -> type[BaseModel]:
    """A strict pydantic model of the keyword-only arguments of ``factory`` that have plain defaults."""
    target = factory.__init__ if inspect.isclass(factory) else factory
    hints = get_type_hints(target)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            fields[name] = (hints[name], parameter.default)
    return create_model(
        f"{getattr(factory, '__name__', 'Factory')}Settings",
        __config__=ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True),
        **fields,
    )


def defaults_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Every setting of ``factory`` with its default."""
    return settings_model(factory)().model_dump()


def check_settings(
    factory: Callable[..., Any], settings: Mapping[str, Any], where: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Settings completed with defaults and converted to the types of the constructor.

    Args:
        factory: the class or function that takes the settings as keyword-only arguments.
        settings: what the user gave.
        where: how errors name the place, for example ``planner``.
        skip: keyword arguments that are not settings.

    Raises:
        ConfigError: unknown key, wrong type or out-of-range value.
    """
    model = settings_model(factory)
    known = [name for name in model.model_fields if name not in skip]
    for name in settings:
        if name not in known:
            raise ConfigError(unknown(f"key in {where}", name, known))
    try:
        complete = model(**settings)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None
    return {name: getattr(complete, name) for name in known}


def explain(error: ValidationError, where: str) -> str:
    """The findings of pydantic as one line each: the key, the value, what would be right."""
    lines = []
    for finding in error.errors():
        key = ".".join([where, *map(str, finding["loc"])]).strip(".")
        if finding["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key")
        else:
            lines.append(f"{key} = {finding['input']!r}: {finding['msg']}")
    return "\n".join(lines)
