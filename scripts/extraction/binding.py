"""What libvirt-python offers, read from its source: which method calls which function, and what it takes."""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Method(NamedTuple):
    """One method of the binding; `defaults` of its last parameters have a default."""

    owner: str
    name: str
    parameters: list[str]
    defaults: int


def read_binding() -> dict[str, Method]:
    """Return C function -> the method that calls it.  Ends the program if the binding is not installed."""
    methods: dict[str, Method] = {}
    for module in ("libvirt", "libvirt_qemu"):
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            sys.exit(f"the Python binding {module} is not installed")
        for node in ast.parse(Path(spec.origin).read_text()).body:
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    _add(methods, node.name, method)
            else:
                _add(methods, module, node)
    return methods


def _add(methods: dict[str, Method], owner: str, node: ast.stmt) -> None:
    if not isinstance(node, ast.FunctionDef):
        return
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id.startswith("libvirtmod")
        ):
            parameters = [argument.arg for argument in node.args.args][1:]
            methods.setdefault(call.func.attr, Method(owner, node.name, parameters, len(node.args.defaults)))
