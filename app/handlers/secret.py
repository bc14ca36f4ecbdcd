"""Secrets, found by their uuid."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virSecret:
    """Look a secret up."""
    return connection.secretLookupByUUIDString(words[0])
