"""Storage pools, found by their uuid."""

from typing import Any

import libvirt

from app.hypervisor import text


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virStoragePool:
    """Look a pool up."""
    return connection.storagePoolLookupByUUIDString(words[0])


def _list_volumes(pool: libvirt.virStoragePool, _arguments: dict[str, Any]) -> Any:
    """The binding fails over one file with a name that is not UTF-8; volume by volume, only that name is bytes."""
    try:
        return pool.listVolumes()
    except UnicodeDecodeError:
        return [text(volume.name) for volume in pool.listAllVolumes()]


SPECIAL = {"virStoragePoolListVolumes": _list_volumes}
