"""Volumes, found by the uuid of their pool and their name."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virStorageVol:
    """Look the pool up, then its volume."""
    return connection.storagePoolLookupByUUIDString(words[0]).storageVolLookupByName(words[1])
