"""The host's devices, found by their name."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNodeDevice:
    """Look a device up."""
    return connection.nodeDeviceLookupByName(words[0])
