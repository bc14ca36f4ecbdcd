"""The rooms, one per object class: how an object is found, and which functions need a hand of their own."""

from types import ModuleType

from app.handlers import (
    connect,
    domain,
    domain_checkpoint,
    domain_snapshot,
    interface,
    network,
    network_port,
    node_device,
    nwfilter,
    nwfilter_binding,
    secret,
    storage_pool,
    storage_vol,
)

ROOMS: dict[str, ModuleType] = {
    room.__name__.rpartition(".")[2].replace("_", "-"): room
    for room in (
        connect,
        domain,
        domain_checkpoint,
        domain_snapshot,
        interface,
        network,
        network_port,
        node_device,
        nwfilter,
        nwfilter_binding,
        secret,
        storage_pool,
        storage_vol,
    )
}
"""By class: a module with `find(connection, words)` and, where there is any, `SPECIAL`: function -> its own call."""

FINDERS = {name: room.find for name, room in ROOMS.items()}
SPECIAL = {function: call for room in ROOMS.values() for function, call in getattr(room, "SPECIAL", {}).items()}
STREAMS = {function: call for room in ROOMS.values() for function, call in getattr(room, "STREAMS", {}).items()}
"""The functions that open a stream: called in the stream's worker with the receiver, a new stream, the arguments."""
