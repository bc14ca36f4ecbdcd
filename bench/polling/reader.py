"""The barest program that polls, one for each way of asking.

reader.py URI info|xml|bulk [FLAGS [CALL_FLAGS]]

A line on standard input makes one round; the number of domains that answered ends it, or libvirt's error.
"""

import sys
from collections.abc import Callable, Sized
from functools import partial
from typing import Any

import libvirt


def info(connection: libvirt.virConnect) -> Sized:
    """List the active domains, and ask each one for its virDomainGetInfo."""
    domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return [(domain.UUIDString(), domain.info()) for domain in domains]


def xml(connection: libvirt.virConnect) -> Sized:
    """Do as in 2008: ids, and for each one a lookup, the XML and virDomainGetInfo."""
    found: list[Any] = []
    numbers: Any = connection.listDomainsID()  # annotated as strings, which they are not
    for number in numbers:
        domain = connection.lookupByID(number)
        found.append((domain.XMLDesc(), domain.info()))
    return found


def bulk(flags: int, call_flags: int, connection: libvirt.virConnect) -> Sized:
    """Ask for all domains at once; flags 0 are all groups."""
    answer: Sized = connection.getAllDomainStats(flags, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | call_flags)
    return answer


def main(uri: str, way: str, *flags: str) -> None:
    """Make rounds until standard input ends."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    first, second = [*map(int, flags), 0, 0][:2]
    ways: dict[str, Callable[[libvirt.virConnect], Sized]] = {
        "info": info,
        "xml": xml,
        "bulk": partial(bulk, first, second),
    }
    connection = libvirt.openReadOnly(uri)
    print("ready", flush=True)
    while sys.stdin.readline():
        try:
            print(len(ways[way](connection)), flush=True)
        except libvirt.libvirtError as error:
            print(error, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
