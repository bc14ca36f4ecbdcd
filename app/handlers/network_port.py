"""Ports of a network, found by the network's uuid and their own."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNetworkPort:
    """Look the network up, then its port."""
    return connection.networkLookupByUUIDString(words[0]).portLookupByUUIDString(words[1])
