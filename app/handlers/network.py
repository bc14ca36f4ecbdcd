"""Networks, found by their uuid."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNetwork:
    """Look a network up."""
    return connection.networkLookupByUUIDString(words[0])
