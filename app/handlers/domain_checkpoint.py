"""Checkpoints of a domain, found by the domain's uuid and their own name."""

import libvirt


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virDomainCheckpoint:
    """Look the domain up, then its checkpoint."""
    return connection.lookupByUUIDString(words[0]).checkpointLookupByName(words[1])
