"""The connection itself, and what is special about its functions."""

from typing import Any

import libvirt


def find(connection: libvirt.virConnect, _words: tuple[str, ...]) -> libvirt.virConnect:
    """The receiver of a connection's methods is the connection."""
    return connection


def _node_get_info(connection: libvirt.virConnect, _arguments: dict[str, Any]) -> Any:
    """C's `memory` is in KiB, the binding's in MiB: the low bits are lost."""
    info: Any = connection.getInfo()
    return [info[0], info[1] * 1024, *info[2:]]


def _node_alloc_pages(connection: libvirt.virConnect, arguments: dict[str, Any]) -> Any:
    """C's two arrays of one length are a dict in the binding."""
    pages: Any = dict(zip(arguments["pageSizes"], arguments["pageCounts"], strict=True))
    cells = (arguments["startCell"], arguments["cellCount"])
    return connection.allocPages(pages, *cells, arguments.get("flags", 0))


def _list_get_stats(connection: libvirt.virConnect, arguments: dict[str, Any]) -> Any:
    """C's first argument is a list of domains; in the binding it is a method of the connection."""
    return connection.domainListGetStats(arguments["doms"], arguments.get("stats", 0), arguments.get("flags", 0))


SPECIAL = {
    "virNodeGetInfo": _node_get_info,
    "virNodeAllocPages": _node_alloc_pages,
    "virDomainListGetStats": _list_get_stats,
}
