"""Storage pools, found by their uuid."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virStoragePool:
    """Look a pool up."""
    return connection.storagePoolLookupByUUIDString(words[0])
