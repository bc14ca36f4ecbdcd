"""Network filters, found by their uuid."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNWFilter:
    """Look a filter up."""
    return connection.nwfilterLookupByUUIDString(words[0])
