"""In a worker thread: look the receiver up, make one call of libvirt, encode what comes out."""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import libvirt
import libvirt_qemu

from app.handlers.arguments import look_up, positional
from app.handlers.native import call_with_params, takes_params
from app.handlers.results import Encoder
from app.handlers.rooms import FINDERS, SPECIAL
from libvirt_amqp.catalogue import Catalogue, Function
from libvirt_amqp.errors import CallError, InternalError, InvalidParams, InvalidRequest
from libvirt_amqp.messages import result_reply

SWALLOWS_ERRORS = {
    "virDomainGetGuestVcpus": None,
    "virDomainMigrateGetCompressionCache": None,
    "virDomainMigrateGetMaxDowntime": None,
    "virNodeGetFreeMemory": 0,
}
"""The binding returns this instead of raising the error."""

BINDING_ERRORS = (TypeError, ValueError, OverflowError, LookupError)
"""What the binding's own checks of arguments raise (UnicodeError is a ValueError)."""

OWN_OF_THE_BINDING = re.compile(r"virConnectListDomainsID|virEventInvoke\w+|virRegisterErrorHandler|vir\w+_pointer")
"""What the binding's C part has under a name of libvirt's kind that is none of libvirt's."""

Work = Callable[[libvirt.virConnect], bytes]


def is_in_binding(function: Function) -> bool:
    """Say whether the installed binding, and so the installed libvirt, has the function."""
    owner = libvirt_qemu if function.owner == "libvirt_qemu" else getattr(libvirt, function.owner, None)
    return hasattr(owner, function.method)


def newer_functions(catalogue: Catalogue) -> list[str]:
    """Return the functions that the installed libvirt has and the catalogue does not: the binding's C part tells."""
    names = {name for module in ("libvirtmod", "libvirtmod_qemu") for name in dir(import_module(module))}
    unknown = {name for name in names - catalogue.functions.keys() if name.startswith("vir")}
    return sorted(name for name in unknown if not OWN_OF_THE_BINDING.fullmatch(name))


def make_work(  # noqa: PLR0913 (all that a call consists of)
    function: Function,
    cls: str,
    words: tuple[str, ...],
    arguments: dict[str, Any],
    encoder: Encoder,
    call_id: object,
) -> Work:
    """Return the job that makes the call and encodes the reply.  It raises CallError, or libvirtError for the lane."""

    def work(connection: libvirt.virConnect) -> bytes:
        libvirt.virResetLastError()  # the binding raises what it finds there, where it fails without asking libvirt
        try:
            value = _call(function, _find(cls, words, connection), arguments, connection)
        except UnicodeDecodeError as error:
            return result_reply(call_id, encoder.not_utf8(function, error))
        except BINDING_ERRORS as error:
            raise InvalidParams(f"{function.name}: {error}") from error
        try:
            return result_reply(call_id, encoder.result(function, value))
        except BINDING_ERRORS as error:
            raise InternalError(f"the result of {function.name} cannot be encoded: {error}") from error

    return work


def translate(error: BaseException, encoder: Encoder) -> CallError:
    """Return the contract's error for what a job raised."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, libvirt.libvirtError):
        return encoder.error(error)
    if isinstance(error, SystemError) and isinstance(error.__cause__, UnicodeDecodeError):
        # The binding's error handler fails over a message that is not UTF-8.
        return encoder.error_not_utf8(error.__cause__)
    return InternalError(f"{type(error).__name__}: {error}")


def _find(cls: str, words: tuple[str, ...], connection: libvirt.virConnect) -> Any:
    try:
        return FINDERS[cls](connection, words)
    except BINDING_ERRORS as error:
        raise InvalidRequest(f"the key names no {cls}: {error}") from error


def _call(function: Function, receiver: Any, arguments: dict[str, Any], connection: libvirt.virConnect) -> Any:
    special = SPECIAL.get(function.name)
    if special is not None:
        return special(receiver, {name: look_up(value, connection) for name, value in arguments.items()})
    if takes_params(function):
        return call_with_params(function, receiver, arguments)
    values = positional(function, arguments, connection)
    if function.owner == "libvirt_qemu":
        return getattr(libvirt_qemu, function.method)(receiver, *values)
    if function.name not in SWALLOWS_ERRORS:
        return getattr(receiver, function.method)(*values)
    value = getattr(receiver, function.method)(*values)
    if value == SWALLOWS_ERRORS[function.name] and libvirt.virGetLastError() is not None:
        raise libvirt.libvirtError(f"{function.name}() failed")
    return value
