"""libvirt's API as data: every function with its class, arguments, results, permissions; structs and enums.

The data (api.json) is extracted from libvirt's own description by scripts/extract_catalogue.py.  Types are written

    int32 uint32 int64 uint64 uint8 uint16   a JSON integer in that range
    string, bytes, cpumap, params            text; {"$base64": ...}; an array of booleans; typed parameters as an object
    zero                                     an integer that libvirt reserves: 0
    domain, network, storage-vol, ...        an object's identity
    struct virDomainInfo                     an object with the fields of the C struct
    free-pages                               of virNodeGetFreePages: cell -> page size in KiB -> free pages
    []T                                      an array of T
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import orjson

INTEGERS = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
    "uint16": (0, 2**16 - 1),
    "uint8": (0, 2**8 - 1),
    "zero": (0, 0),
}
"""The range of every integer type."""

_CONDITION = re.compile(r"(?P<negated>!)?(?P<argument>\w+)(?P<operator>&|==)(?P<values>[\w|]+)")


class Param(NamedTuple):
    """One argument of a function, by its C name."""

    name: str
    type: str
    optional: bool


class Permission(NamedTuple):
    """One of libvirt's permissions, such as `domain:start`, and when the function needs it."""

    name: str
    argument: str | None = None
    """The argument that decides; None: always needed."""
    bits: tuple[int, ...] = ()
    is_mask: bool = True
    negated: bool = False

    def applies(self, arguments: dict[str, Any]) -> bool:
        """Say whether a call with these arguments needs the permission."""
        if self.argument is None:
            return True
        value = arguments.get(self.argument) or 0
        hit = any(value & bit == bit if self.is_mask else value == bit for bit in self.bits)
        return hit != self.negated


class Function:
    """One function of libvirt.  `left_out` says why it cannot be called over the bus; None: it can.

    `instead`: what does the same and can be, for machines: `use`, the function; `add_flags` to its flags; `arguments`,
    from this function's to that one's (`params.x`: the typed parameter x).
    """

    def __init__(self, name: str, row: dict[str, Any], constants: dict[str, int]) -> None:
        self.name = name
        self.cls: str | None = row["class"]
        self.since: str = row["since"]
        self.doc: str = row["doc"]
        self.left_out: str | None = row.get("left_out")
        self.instead: dict[str, Any] | None = row.get("instead")
        self.owner, _, self.method = row.get("python", "").partition(".")
        self.params = tuple(Param(*p) for p in row.get("params", ()))
        self.outputs: tuple[tuple[str, str], ...] = tuple((name, kind) for name, kind in row.get("outputs", ()))
        self.high_priority: bool = row.get("high", False)
        self.acl = tuple(_permission(text, constants) for text in row.get("acl", ()))
        self.is_conditional = any(permission.argument is not None for permission in self.acl)
        """Whether its arguments decide which permissions it needs."""
        self._write: bool | str = row.get("write", True)

    def permissions(self, arguments: dict[str, Any]) -> list[str]:
        """Return libvirt's permissions that a call with these arguments needs."""
        return [permission.name for permission in self.acl if permission.applies(arguments)]

    def writes(self, arguments: dict[str, Any]) -> bool:
        """Say whether libvirt refuses this call on a read-only connection."""
        if self._write == "conditional":
            return any(p.argument is not None and p.applies(arguments) for p in self.acl)
        return bool(self._write)


class Catalogue:
    """All of it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.libvirt: str = data["libvirt"]
        """The version of libvirt that it was made from."""
        self.enums: dict[str, dict[str, int]] = data["enums"]
        self.structs: dict[str, list[tuple[str, str]]] = data["structs"]
        self.constants = {name: value for enum in self.enums.values() for name, value in enum.items()}
        self.functions = {name: Function(name, row, self.constants) for name, row in data["functions"].items()}
        self._names: dict[str, dict[int, str]] = {}

    def names(self, enum: str) -> dict[int, str]:
        """Return value -> name of a C enum; empty for an unknown one."""
        if enum not in self._names:
            self._names[enum] = {value: name for name, value in reversed(self.enums.get(enum, {}).items())}
        return self._names[enum]

    def served(self) -> dict[str, Function]:
        """Return the functions that can be called over the bus."""
        return {name: function for name, function in self.functions.items() if function.left_out is None}


def _permission(text: str, constants: dict[str, int]) -> Permission:
    """Read `domain:write?flags&VIR_...`: a permission and the condition under which it is needed."""
    name, _, condition = text.partition("?")
    match = _CONDITION.fullmatch(condition)
    if match is None:
        return Permission(name)
    bits = tuple(constants[value] for value in match["values"].split("|"))
    return Permission(name, match["argument"], bits, match["operator"] == "&", match["negated"] is not None)


@cache
def load() -> Catalogue:
    """Read the catalogue that comes with this package."""
    return Catalogue(orjson.loads(files(__package__).joinpath("api.json").read_bytes()))
