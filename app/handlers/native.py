"""libvirt's C functions, called past the binding where it cannot say what C can.

In a worker thread, on the binding's own handles and the library that it has loaded; errors are libvirt's own.

* Typed parameters going in.  For nine functions the binding asks libvirt for the present ones to learn their types.  So
  it cannot set what is not there (a bandwidth), nor both VIR_DOMAIN_AFFECT_LIVE and _CONFIG, for which one cannot ask;
  and it takes "no" for true.  For the others it knows the types of the names that it was written for.
* virNodeGetFreePages.  The binding cuts the number of free pages to 32 bits: 8 TiB of small ones.
* virNodeGetInfo.  The binding gives the memory in MiB and loses the rest.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import libvirt

from app.handlers.typed import TypedParam
from libvirt_amqp.catalogue import Function

_ADD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "INT": ("virTypedParamsAddInt", ctypes.c_int),
    "UINT": ("virTypedParamsAddUInt", ctypes.c_uint),
    "LLONG": ("virTypedParamsAddLLong", ctypes.c_longlong),
    "ULLONG": ("virTypedParamsAddULLong", ctypes.c_ulonglong),
    "DOUBLE": ("virTypedParamsAddDouble", ctypes.c_double),
    "BOOLEAN": ("virTypedParamsAddBoolean", ctypes.c_int),
    "STRING": ("virTypedParamsAddString", ctypes.c_char_p),
}


class _NodeInfo(ctypes.Structure):
    """virNodeInfo of libvirt-host.h."""

    _fields_ = (
        ("model", ctypes.c_char * 32),
        ("memory", ctypes.c_ulong),
        *((name, ctypes.c_uint) for name in ("cpus", "mhz", "nodes", "sockets", "cores", "threads")),
    )


def takes_params(function: Function) -> bool:
    """Say whether the function has typed parameters among its arguments."""
    return any(kind == "params" for _, kind, _ in function.params)


def call_with_params(function: Function, receiver: Any, arguments: dict[str, Any]) -> int:
    """Call a function that takes typed parameters, beside them only strings and 32-bit integers."""
    with _array(arguments.get("params", [])) as array:
        values: list[Any] = []
        for name, kind, _ in function.params:
            if kind == "params":
                values += array
            elif kind == "string":
                text = arguments.get(name)
                values.append(ctypes.c_char_p(text if text is None else text.encode()))
            else:
                values.append(ctypes.c_uint(arguments.get(name, 0)))
        return _call(function.name, receiver, *values)


def node_info(connection: libvirt.virConnect) -> list[Any]:
    """Return the fields of virNodeInfo in their order."""
    info = _NodeInfo()
    _call("virNodeGetInfo", connection, ctypes.byref(info))
    model, *numbers = (getattr(info, field[0]) for field in info._fields_)
    return [model.decode(errors="replace"), *numbers]


def free_pages(
    connection: libvirt.virConnect, pages: list[int], start_cell: int, cell_count: int, flags: int
) -> dict[int, dict[int, int]]:
    """Return cell -> page size in KiB -> free pages."""
    sizes = (ctypes.c_uint * len(pages))(*pages)
    counts = (ctypes.c_ulonglong * (len(pages) * cell_count))()
    cells = ctypes.c_int(start_cell), ctypes.c_uint(cell_count)
    filled = _call("virNodeGetFreePages", connection, len(pages), sizes, *cells, counts, ctypes.c_uint(flags))
    rows = (counts[start : start + len(pages)] for start in range(0, filled, len(pages) or 1))
    return {start_cell + i: dict(zip(pages, row, strict=True)) for i, row in enumerate(rows)}


def _call(name: str, receiver: Any, *values: Any) -> int:
    """Call a function that returns an int, -1 for an error."""
    result: int = getattr(_LIBRARY, name)(ctypes.c_void_p(receiver.c_pointer()), *values)
    if result < 0:
        raise libvirt.libvirtError(f"{name}() failed")
    return result


@contextmanager
def _array(params: list[TypedParam]) -> Iterator[tuple[ctypes.c_void_p, ctypes.c_int]]:
    """Make libvirt's array of typed parameters, and their number."""
    array, count, room = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    try:
        for name, kind, value in params:
            add, c_type = _ADD[kind]
            in_c = c_type(value.encode() if isinstance(value, str) else value)
            ends = ctypes.byref(array), ctypes.byref(count), ctypes.byref(room)
            if getattr(_LIBRARY, add)(*ends, name.encode(), in_c) < 0:
                raise libvirt.libvirtError(f"{add}() failed")
        yield array, count
    finally:
        _LIBRARY.virTypedParamsFree(array, count)


def _library() -> ctypes.CDLL:
    """Open the binding's own module: the symbols of the libvirt that it is linked with are found through it."""
    spec = find_spec("libvirtmod")
    if spec is None or spec.origin is None:
        raise ImportError("libvirt-python has no libvirtmod")
    return ctypes.CDLL(spec.origin)


_LIBRARY = _library()
