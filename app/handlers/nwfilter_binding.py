"""Bindings of network filters, found by their port device."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virNWFilterBinding:
    """Look a binding up."""
    return connection.nwfilterBindingLookupByPortDev(words[0])
