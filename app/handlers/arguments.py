"""From the `params` of a request to the arguments of a binding's method: checked by a table, not by 380 models.

Checked on the loop, before anything is queued; objects are looked up later, in the worker thread.
"""

import base64
import binascii
from typing import Any, NamedTuple

import libvirt
import orjson

from app.handlers.integers import bits
from app.handlers.rooms import FINDERS
from app.handlers.typed import check_params, check_string
from libvirt_amqp.catalogue import INTEGERS, Function
from libvirt_amqp.errors import InvalidParams
from libvirt_amqp.objects import CLASSES, identity_words
from libvirt_amqp.rules import BOUNDS, LENGTHS, SECRET_FUNCTIONS

_UUID_BYTES = 16


class Reference(NamedTuple):
    """An object that an argument names, not looked up yet."""

    cls: str
    words: tuple[str, ...]


def check(function: Function, params: dict[str, Any], host: str) -> dict[str, Any]:
    """Return the arguments by C name, those left out not among them.  Raises InvalidParams that says which and why."""
    given = dict(params)
    arguments: dict[str, Any] = {}
    for name, kind, optional in function.params:
        value = given.pop(name, None)
        if value is not None:
            arguments[name] = _check_secretly(function.name, name, kind, value, host)
            _check_bounds(function.name, name, arguments[name])
        elif not optional:
            raise InvalidParams(f"{function.name} needs the argument {name!r} ({kind})")
    if given:
        known = ", ".join(param.name for param in function.params) or "none"
        raise InvalidParams(f"{function.name} has no argument {next(iter(given))!r} (its arguments: {known})")
    return arguments


def _check_secretly(function: str, name: str, kind: str, value: Any, host: str) -> Any:
    """Check one argument; what is wrong with one that may be a secret is told without showing it."""
    try:
        return _check(name, kind, value, host)
    except InvalidParams:
        if function not in SECRET_FUNCTIONS:
            raise
        shape = '{"$base64": "..."}' if kind == "bytes" else kind
        raise InvalidParams(f"{name}: not what {function} takes: {shape}") from None


def _check_bounds(function: str, name: str, value: Any) -> None:
    bounds = BOUNDS.get((function, name))
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise InvalidParams(f"{name}: from {bounds[0]} to {bounds[1]} is served, not {value}")
    bounds = LENGTHS.get((function, name))
    if bounds is not None and not bounds[0] <= len(value) <= bounds[1]:
        raise InvalidParams(f"{name}: from {bounds[0]} to {bounds[1]} items are served, not {len(value)}")


def positional(function: Function, arguments: dict[str, Any], connection: libvirt.virConnect) -> list[Any]:
    """In a worker thread: return what the binding's method takes, in its order, objects looked up."""
    return [
        _as_the_binding_takes_it(kind, arguments[name], connection) if name in arguments else _left_out(kind)
        for name, kind, _ in function.params
        if kind != "zero"
    ]


def look_up(value: Any, connection: libvirt.virConnect) -> Any:
    """In a worker thread: turn references, also in a list, into libvirt's objects.  Raises libvirtError."""
    if isinstance(value, Reference):
        return FINDERS[value.cls](connection, value.words)
    if isinstance(value, list) and value and isinstance(value[0], Reference):
        return [FINDERS[reference.cls](connection, reference.words) for reference in value]
    return value


def _as_the_binding_takes_it(kind: str, value: Any, connection: libvirt.virConnect) -> Any:
    return bits(kind, value) if kind in INTEGERS else look_up(value, connection)


def _left_out(kind: str) -> Any:
    return 0 if kind in INTEGERS else None


def _check(name: str, kind: str, value: Any, host: str) -> Any:
    if kind in INTEGERS:
        return _integer(name, kind, value)
    if kind.startswith("[]"):
        if not isinstance(value, list):
            raise InvalidParams(f"{name}: an array is needed, not {_shown(value)}")
        return [_check(f"{name}[{i}]", kind[2:], item, host) for i, item in enumerate(value)]
    if kind in CLASSES:
        return _reference(name, kind, value, host)
    return _CHECKS[kind](name, value)


def _integer(name: str, kind: str, value: Any) -> int:
    low, high = INTEGERS[kind]
    if type(value) is not int or not low <= value <= high:  # a bool is an int to isinstance
        raise InvalidParams(f"{name}: an integer from {low} to {high} is needed, not {_shown(value)}")
    return value


def _bytes(name: str, value: Any) -> bytes:
    encoded = value.get("$base64") if isinstance(value, dict) and len(value) == 1 else None
    try:
        raw = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidParams(f"{name}: not valid base64") from error
    if encoded is None:
        raise InvalidParams(f'{name}: bytes are written {{"$base64": "..."}}, not {_shown(value)}')
    if name == "uuid" and len(raw) != _UUID_BYTES:
        raise InvalidParams(f"{name}: {_UUID_BYTES} bytes are needed, not {len(raw)}")
    return raw


def _cpumap(name: str, value: Any) -> tuple[bool, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(bit, bool) for bit in value):
        raise InvalidParams(f"{name}: an array of booleans, one for each CPU, is needed, not {_shown(value)}")
    return tuple(value)


def _reference(name: str, cls: str, value: Any, host: str) -> Reference:
    if not isinstance(value, dict):
        raise InvalidParams(f"{name}: the identity of a {cls} is needed, not {_shown(value)}")
    if value.get("class", cls) != cls:
        raise InvalidParams(f"{name}: a {cls} is needed, not a {value['class']!r}")
    if value.get("host", host) != host:
        raise InvalidParams(f"{name}: the object is on host {value['host']!r}, this is {host!r}")
    try:
        words = identity_words({**value, "class": cls})
    except ValueError as error:
        raise InvalidParams(f"{name}: {error}") from error
    return Reference(cls, tuple(check_string(name, word) for word in words))


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 (fits a line)


_CHECKS = {"string": check_string, "bytes": _bytes, "cpumap": _cpumap, "params": check_params}
