"""The connection itself, and what is special about its functions."""

from typing import Any

import libvirt

from app.handlers.native import free_pages, node_info
from libvirt_amqp.errors import InvalidParams


def find(connection: libvirt.virConnect, _words: tuple[str, ...]) -> libvirt.virConnect:
    """The receiver of a connection's methods is the connection."""
    return connection


def _node_get_info(connection: libvirt.virConnect, _arguments: dict[str, Any]) -> Any:
    """C's `memory` is in KiB, the binding's in MiB."""
    return node_info(connection)


def _node_get_free_pages(connection: libvirt.virConnect, arguments: dict[str, Any]) -> Any:
    """C's counts have 64 bits, the binding's 32."""
    cells = arguments["startCell"], arguments["cellCount"]
    return free_pages(connection, arguments["pages"], *cells, arguments.get("flags", 0))


def _node_alloc_pages(connection: libvirt.virConnect, arguments: dict[str, Any]) -> Any:
    """C's two arrays of one length are a dict in the binding, which would drop a size that comes twice."""
    sizes, counts = arguments["pageSizes"], arguments["pageCounts"]
    if len(sizes) != len(counts) or len(set(sizes)) != len(sizes):
        raise InvalidParams("pageSizes and pageCounts: one count for each size, and no size twice, is needed")
    pages: Any = dict(zip(sizes, counts, strict=True))
    cells = arguments["startCell"], arguments["cellCount"]
    return connection.allocPages(pages, *cells, arguments.get("flags", 0))


def _list_get_stats(connection: libvirt.virConnect, arguments: dict[str, Any]) -> Any:
    """C's first argument is a list of domains; in the binding it is a method of the connection."""
    return connection.domainListGetStats(arguments["doms"], arguments.get("stats", 0), arguments.get("flags", 0))


SPECIAL = {
    "virNodeGetInfo": _node_get_info,
    "virNodeGetFreePages": _node_get_free_pages,
    "virNodeAllocPages": _node_alloc_pages,
    "virDomainListGetStats": _list_get_stats,
}
