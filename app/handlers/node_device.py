"""The host's devices, found by their name, and what is special about their functions."""

from typing import Any

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNodeDevice:
    """Look a device up."""
    return connection.nodeDeviceLookupByName(words[0])


def _get_parent(device: libvirt.virNodeDevice, _arguments: dict[str, Any]) -> Any:
    """The binding swallows errors; one of them, an internal error of the driver, only says that there is no parent."""
    parent: Any = device.parent()
    error = libvirt.virGetLastError() if parent is None else None
    if error is None or (error[0] == libvirt.VIR_ERR_INTERNAL_ERROR and error[1] != libvirt.VIR_FROM_RPC):
        return parent
    raise libvirt.libvirtError("virNodeDeviceGetParent() failed")


SPECIAL = {"virNodeDeviceGetParent": _get_parent}
