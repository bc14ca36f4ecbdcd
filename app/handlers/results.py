"""From what a binding's method returned to JSON: C's names for fields and outputs, identities for objects."""

import base64
from typing import Any

import libvirt

from app.handlers.integers import unsigned
from app.hypervisor import identity
from libvirt_amqp import typed_params
from libvirt_amqp.catalogue import INTEGERS, Catalogue, Function
from libvirt_amqp.errors import InternalError, LibvirtFailed
from libvirt_amqp.objects import CLASSES
from libvirt_amqp.rules import MAY_BE_BYTES


class Encoder:
    """In the worker threads: encoding an object may ask libvirt (a volume's pool and path)."""

    def __init__(self, catalogue: Catalogue, host: str) -> None:
        self._structs = catalogue.structs
        self._codes = catalogue.names("virErrorNumber")
        self._domains = catalogue.names("virErrorDomain")
        self._host = host

    def not_utf8(self, function: Function, error: UnicodeDecodeError) -> Any:
        """Return the `result` of a function that has the name of a file, where it is not UTF-8: its bytes.

        Raises InternalError, which says what it is, for any other function.
        """
        if function.name in MAY_BE_BYTES:
            return {"$base64": base64.b64encode(error.object).decode()}
        raise InternalError(f"the result of {function.name} has a text that is not UTF-8: {_readable(error)!r}")

    def result(self, function: Function, value: Any) -> Any:
        """Return the `result` of a reply: one output bare, several as an object by C argument name."""
        if len(function.outputs) == 1:
            return self._encode(function.outputs[0][1], value)
        if isinstance(value, dict):
            return self._outputs_of_dict(function, value)
        return {name: self._encode(kind, item) for (name, kind), item in zip(function.outputs, value, strict=True)}

    def error(self, error: libvirt.libvirtError) -> LibvirtFailed:
        """Return the whole virError, with the names of its numbers, as an error of the contract."""
        # The binding itself failed, without an error of libvirt's, where there is none or its code is 0.
        whole = error.err if error.err and error.err[0] else (1, 0, str(error), 2, *5 * (None,))
        code, domain, message, level, str1, str2, str3, int1, int2 = whole
        data = {
            "code": code,
            "codeName": self._codes.get(code),
            "domain": domain,
            "domainName": self._domains.get(domain),
            "level": level,
            "message": message,
            "str1": str1,
            "str2": str2,
            "str3": str3,
            "int1": int1,
            "int2": int2,
        }
        return LibvirtFailed(str(message), data)

    def error_not_utf8(self, error: UnicodeDecodeError) -> LibvirtFailed:
        """Return libvirt's last error, of which the binding can say only the numbers, because of a text in it."""
        code, domain = libvirt.virGetLastErrorCode(), libvirt.virGetLastErrorDomain()
        stand_in: Any = libvirt.libvirtError.__new__(libvirt.libvirtError)
        stand_in.err = (code, domain, _readable(error), libvirt.VIR_ERR_ERROR, None, None, None, -1, -1)
        return self.error(stand_in)

    def _outputs_of_dict(self, function: Function, value: dict[str, Any]) -> dict[str, Any]:
        """The binding joins outputs into one dict: typed parameters are whatever is no output of another name."""
        names = [name for name, kind in function.outputs if kind != "params"]
        rest = {name: item for name, item in value.items() if name not in names}
        return {
            name: self._encode(kind, rest if kind == "params" else value.get(name)) for name, kind in function.outputs
        }

    def _encode(self, kind: str, value: Any) -> Any:  # noqa: PLR0911 (one per kind)
        if value is None:
            return 0 if kind == "int32" else None
        if kind.startswith("[]"):
            return [self._encode(kind[2:], item) for item in value]
        if kind.startswith("struct "):
            return self._struct(kind[len("struct ") :], value)
        if kind in CLASSES:
            return identity(value, self._host)
        if kind == "bytes":
            return {"$base64": base64.b64encode(value).decode()}
        if kind in INTEGERS:
            return unsigned(kind, int(value))  # the binding gives some of C's ints as bool
        if kind == "params":
            return typed_params.unsigned(value)
        return list(value) if kind == "cpumap" else value

    def _struct(self, name: str, value: Any) -> dict[str, Any]:
        fields = self._structs[name]
        if isinstance(value, dict):
            return {field: self._encode(kind, value[field]) for field, kind in fields if field in value}
        return {field: self._encode(kind, item) for (field, kind), item in zip(fields, value, strict=True)}


def _readable(error: UnicodeDecodeError) -> str:
    return error.object.decode(errors="backslashreplace")
