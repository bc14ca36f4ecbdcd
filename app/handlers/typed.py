"""Typed parameters going in: with libvirt's own type for the name; an unknown one with the type that JSON shows."""

from typing import Any, NamedTuple

from libvirt_amqp.errors import InvalidParams
from libvirt_amqp.typed_params import RANGES, type_of

LONGEST_NAME = 79
"""Bytes: VIR_TYPED_PARAM_FIELD_LENGTH less the NUL."""


class TypedParam(NamedTuple):
    """One virTypedParameter."""

    name: str
    type: str
    value: int | float | str | bool


def check_params(argument: str, value: Any) -> list[TypedParam]:
    """Return the parameters of an object; an array repeats one.  Raises InvalidParams that says which and why."""
    if not isinstance(value, dict):
        raise InvalidParams(f"{argument}: an object of typed parameters is needed")
    params: list[TypedParam] = []
    for name, item in value.items():
        where = f"{argument}.{name}"
        _check_name(argument, name)
        if isinstance(item, list) and not item:
            raise InvalidParams(f"{where}: an empty array is no parameter")
        items = item if isinstance(item, list) else [item]
        params += [_param(where, name, one) for one in items]
    return params


def check_string(where: str, value: Any) -> str:
    """Return a string that C can hold."""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidParams(f"{where}: a string without NUL is needed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidParams(f"{where}: half a surrogate pair is no text") from error
    return value


def _check_name(argument: str, name: str) -> None:
    check_string(f"a name in {argument}", name)
    if not 0 < len(name.encode()) <= LONGEST_NAME:
        raise InvalidParams(f"{argument}: the name of a typed parameter has 1 to {LONGEST_NAME} bytes")


def _param(where: str, name: str, value: Any) -> TypedParam:
    kind = type_of(name) or _type_in_json(where, value)
    if kind in RANGES:
        low, high = RANGES[kind]
        if type(value) is not int or not low <= value <= high:  # a bool is an int to isinstance
            raise InvalidParams(f"{where}: an integer from {low} to {high} is needed")
        return TypedParam(name, kind, value)
    if kind == "STRING":
        return TypedParam(name, kind, check_string(where, value))
    if kind == "BOOLEAN":
        if not isinstance(value, bool):
            raise InvalidParams(f"{where}: true or false is needed")
        return TypedParam(name, kind, value)
    if type(value) not in {int, float}:
        raise InvalidParams(f"{where}: a number is needed")
    return TypedParam(name, kind, _double(where, value))


def _double(where: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidParams(f"{where}: a number that a double can hold is needed") from error


def _type_in_json(where: str, value: Any) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "ULLONG" if value >= 0 else "LLONG"
    if isinstance(value, float):
        return "DOUBLE"
    if isinstance(value, str):
        return "STRING"
    raise InvalidParams(f"{where}: a number, boolean, string or an array of these is needed")
