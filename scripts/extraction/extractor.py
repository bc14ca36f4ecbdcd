"""From libvirt's description, the binding and the reviewed tables to the rows of the catalogue."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from extraction import c_types, reviewed
from extraction.binding import Method, read_binding
from extraction.c_types import Unplaced

DESCRIPTIONS = ("libvirt-api.xml", "libvirt-qemu-api.xml")
"""What is extracted; libvirt-lxc-api.xml is not: reviewed.LXC says why."""

PERMISSIONS = Path(__file__).resolve().parents[1] / "permissions.json"

NOT_LOOKED_UP: dict[str, Any] = {"acl": [], "write": True, "high": False}
"""For a function that permissions.json does not have."""

NULLABLE = re.compile(r"\bNULL\b|\boptional\b", re.IGNORECASE)

Param = tuple[str, str, bool]


class Extractor:
    """One pass over libvirt's description.  `notes` tells what somebody has to look at."""

    def __init__(self, directory: Path) -> None:
        self.trees = [ET.parse(directory / name) for name in DESCRIPTIONS]
        self.methods = read_binding()
        looked_up = json.loads(PERMISSIONS.read_text())
        self.permissions: dict[str, dict[str, Any]] = looked_up["functions"]
        self.looked_up_in: str = looked_up["libvirt"]
        self.structs: dict[str, list[tuple[str, str]]] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.values: dict[str, int] = {}
        self.notes: list[str] = []

    def run(self) -> dict[str, Any]:
        """Return the whole catalogue."""
        for tree in self.trees:
            for struct in tree.iter("struct"):
                self._struct(struct)
            for enum in sorted(tree.iter("enum"), key=lambda e: not e.get("value", "").lstrip("-").isdigit()):
                self._enum(enum)
        functions = {f.get("name", ""): f for tree in self.trees for f in tree.iter("function")}
        described = {name: self._function(functions[name]) for name in sorted(functions)}
        return {
            "libvirt": self.version(),
            "functions": described,
            "structs": self._used_structs(json.dumps(described)),
            "enums": {name: self.enums[name] for name in sorted(self.enums)},
        }

    def version(self) -> str:
        """Return the version of libvirt that the description is of."""
        macros = (m for tree in self.trees for m in tree.iter("macro") if m.get("name") == "LIBVIR_VERSION_NUMBER")
        number = int(next(macros).get("raw", ""))
        return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

    def _used_structs(self, text: str) -> dict[str, Any]:
        """Return the structs that a text names, and those that they name."""
        used: dict[str, Any] = {}
        while new := {n: f for n, f in self.structs.items() if f'struct {n}"' in text and n not in used}:
            used |= new
            text = json.dumps(new)
        return dict(sorted(used.items()))

    def _struct(self, node: ET.Element) -> None:
        fields = [(f.get("name", ""), c_types.field_type(f.get("type", ""))) for f in node.iter("field")]
        self.structs[node.get("name", "")] = [f for f in fields if f[0] not in c_types.COUNTS]

    def _enum(self, node: ET.Element) -> None:
        """Note one value; some are the name of another one."""
        name, kind, value = node.get("name", ""), node.get("type", ""), node.get("value", "")
        if re.fullmatch(r"-?\d+", value):
            self.values[name] = int(value)
        elif value in self.values:
            self.values[name] = self.values[value]
        if name in self.values and not name.endswith("_LAST"):
            self.enums.setdefault(kind, {})[name] = self.values[name]

    def _function(self, node: ET.Element) -> dict[str, Any]:
        name = node.get("name", "")
        arguments = node.findall("arg")
        entry: dict[str, Any] = {"class": _receiver(arguments), "since": node.get("version"), "doc": _summary(node)}
        reason = next((why for pattern, why in reviewed.LEFT_OUT.items() if re.fullmatch(pattern, name)), None)
        if reason is not None:
            instead = reviewed.INSTEAD.get(name)
            return entry | {"left_out": reason} | ({"instead": instead} if instead else {})
        try:
            return entry | self._served(name, node, arguments)
        except Unplaced as error:
            self.notes.append(f"{name} is left out: {error}")
            return entry | {"left_out": f"not in this catalogue yet: {error}"}

    def _served(self, name: str, node: ET.Element, arguments: list[ET.Element]) -> dict[str, Any]:
        """Return the part of a row that a function has that can be called.  Raises Unplaced."""
        if _receiver(arguments) is None:
            raise Unplaced("it is not a function of an object")
        owner, method = self._method(name)
        params = reviewed.PARAMS.get(name) or self._params(name, arguments, method)
        outputs = reviewed.OUTPUTS.get(name) or self._outputs(node, arguments, {param[0] for param in params})
        for kind in (kind for _, kind in outputs):
            self._check_struct(kind.removeprefix("[]"))
        if name not in self.permissions and _receiver(arguments) != "stream":  # the opening function needs one
            self.notes.append(f"{name} counts as one that changes something: it is not in {PERMISSIONS.name}")
        facts = self.permissions.get(name, NOT_LOOKED_UP)
        return {"python": owner, "params": params, "outputs": outputs, **facts}

    def _method(self, name: str) -> tuple[str, Method]:
        method = reviewed.METHODS.get(name) or self.methods.get(name)
        if method is None:
            raise Unplaced("it is not in libvirt-python")
        method = Method(*method)
        return f"{method.owner}.{method.name}", method

    def _params(self, name: str, arguments: list[ET.Element], method: Method) -> list[Param]:
        by_name = {a.get("name", ""): a for a in arguments}
        params: list[Param] = []
        for position, own in enumerate(method.parameters):
            if by_name.get(own, ET.Element("arg")).get("type") == "virStreamPtr":
                continue  # made by the agent, which gives back what names it
            names = (own, *reviewed.RENAMED.get(own, ()))
            c_name = next((n for n in names if n in by_name), None)
            if c_name is None:
                raise Unplaced(f"the binding's parameter {own!r} is none of its arguments ({', '.join(by_name)})")
            has_default = position >= len(method.parameters) - method.defaults
            kind = c_types.input_type(by_name[c_name].get("type", ""))
            optional = c_name == "flags" or has_default or _is_nullable(name, by_name[c_name], kind)
            params.append((c_name, kind, optional and (name, c_name) not in reviewed.NOT_OPTIONAL))
        if "flags" in by_name and "flags" not in {p[0] for p in params}:
            params.append(("flags", "zero", True))
        return params

    @staticmethod
    def _outputs(node: ET.Element, arguments: list[ET.Element], inputs: set[str]) -> list[tuple[str, str]]:
        outs = []
        for argument in arguments[1:]:
            name = argument.get("name", "")
            if name not in inputs and name not in c_types.COUNTS:
                kind = c_types.output_type(argument.get("type", ""), name)
                outs += [(name, kind)] if kind is not None else []
        returned = node.find("return")
        return outs or [("return", c_types.return_type(returned.get("type", "") if returned is not None else ""))]

    def _check_struct(self, kind: str) -> None:
        """Raise Unplaced if a type is a struct that is not described, or with a field that cannot be placed."""
        if not kind.startswith("struct "):
            return
        fields = self.structs.get(kind.removeprefix("struct "))
        if fields is None:
            raise Unplaced(f"a result of the type {kind}, which is not described")
        for field, inner in fields:
            if inner.startswith(c_types.UNKNOWN):
                raise Unplaced(f"a result of the type {kind}, whose {field} is a {inner.removeprefix(c_types.UNKNOWN)}")
            self._check_struct(inner.removeprefix("[]"))


def _receiver(arguments: list[ET.Element]) -> str | None:
    if not arguments:
        return None
    kind = arguments[0].get("type", "").replace("const ", "")
    if kind == "virDomainPtr *":
        return "connect"
    return c_types.CLASSES.get(kind.removesuffix("Ptr")) if kind.endswith("Ptr") else None


def _is_nullable(function: str, argument: ET.Element, kind: str) -> bool:
    """Say whether C takes NULL for an argument that a request may then leave out."""
    says_so = kind in {"string", "params", "[]string"} and NULLABLE.search(argument.get("info") or "") is not None
    return says_so or (function, argument.get("name", "")) in reviewed.MAY_BE_NULL


def _summary(node: ET.Element) -> str:
    """Return the first sentence of a function's description."""
    text = " ".join((node.findtext("info") or "").split())
    return re.split(r"(?<=[.:])\s", text, maxsplit=1)[0][:200]


def dump(catalogue: dict[str, Any]) -> str:
    """Return JSON with one function, struct or enum a line, so that a difference can be read."""
    parts = []
    for section, rows in catalogue.items():
        if isinstance(rows, dict):
            lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
            parts.append(f" {json.dumps(section)}: {{\n{lines}\n }}")
        else:
            parts.append(f" {json.dumps(section)}: {json.dumps(rows)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
