"""Volumes, found by the uuid of their pool and their name."""

from typing import Any

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virStorageVol:
    """Look the pool up, then its volume."""
    return connection.storagePoolLookupByUUIDString(words[0]).storageVolLookupByName(words[1])


def _download(volume: libvirt.virStorageVol, stream: libvirt.virStream, arguments: dict[str, Any]) -> None:
    volume.download(stream, arguments["offset"], arguments["length"], arguments.get("flags", 0))


def _upload(volume: libvirt.virStorageVol, stream: libvirt.virStream, arguments: dict[str, Any]) -> None:
    volume.upload(stream, arguments["offset"], arguments["length"], arguments.get("flags", 0))


STREAMS = {"virStorageVolDownload": _download, "virStorageVolUpload": _upload}
