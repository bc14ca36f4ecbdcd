"""Volumes, found by the uuid of their pool and their name."""

from typing import Any

import libvirt

from app.handlers.integers import bits


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virStorageVol:
    """Look the pool up, then its volume."""
    return connection.storagePoolLookupByUUIDString(words[0]).storageVolLookupByName(words[1])


def _download(volume: libvirt.virStorageVol, stream: libvirt.virStream, arguments: dict[str, Any]) -> None:
    volume.download(stream, *_range(arguments), arguments.get("flags", 0))


def _upload(volume: libvirt.virStorageVol, stream: libvirt.virStream, arguments: dict[str, Any]) -> None:
    volume.upload(stream, *_range(arguments), arguments.get("flags", 0))


def _range(arguments: dict[str, Any]) -> tuple[int, int]:
    return bits("uint64", arguments["offset"]), bits("uint64", arguments["length"])


STREAMS = {"virStorageVolDownload": _download, "virStorageVolUpload": _upload}
