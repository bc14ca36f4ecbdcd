"""The host's network interfaces, found by their name."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virInterface:
    """Look an interface up."""
    return connection.interfaceLookupByName(words[0])
