"""Snapshots of a domain, found by the domain's uuid and their own name."""

from typing import Any

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virDomainSnapshot:
    """Look the domain up, then its snapshot."""
    return connection.lookupByUUIDString(words[0]).snapshotLookupByName(words[1])


def _revert(snapshot: libvirt.virDomainSnapshot, arguments: dict[str, Any]) -> Any:
    """The receiver is the snapshot in C, the domain in the binding."""
    return snapshot.getDomain().revertToSnapshot(snapshot, arguments.get("flags", 0))


SPECIAL = {"virDomainRevertToSnapshot": _revert}
