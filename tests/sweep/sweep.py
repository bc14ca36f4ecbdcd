"""Calls that have to succeed, or that libvirt has to refuse; their results against their schemas; what came of them."""

import asyncio
import copy
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from libvirt_amqp.catalogue import load
from libvirt_amqp.client import Client
from libvirt_amqp.errors import CallError, LibvirtFailed
from libvirt_amqp.keys import Address
from libvirt_amqp.objects import CLASSES, Identity
from libvirt_amqp.schema.calls import openrpc, result_schema

DRIVERS = {
    "test": "test",
    "file": "test",
    "qemu": "QEMU",
    "qemu2": "QEMU",
    "system": "QEMU, privileged",
}
"""By the first word of the key: the driver of libvirt behind the agent, as the table calls it."""

NAMERS = {
    "domain": ("virDomainGetUUIDString", "uuid"),
    "domain-checkpoint": ("virDomainCheckpointGetName", "name"),
    "domain-snapshot": ("virDomainSnapshotGetName", "name"),
    "interface": ("virInterfaceGetName", "name"),
    "network": ("virNetworkGetUUIDString", "uuid"),
    "network-port": ("virNetworkPortGetUUIDString", "uuid"),
    "node-device": ("virNodeDeviceGetName", "name"),
    "nwfilter": ("virNWFilterGetUUIDString", "uuid"),
    "nwfilter-binding": ("virNWFilterBindingGetPortDev", "portdev"),
    "secret": ("virSecretGetUUIDString", "uuid"),
    "storage-pool": ("virStoragePoolGetUUIDString", "uuid"),
    "storage-vol": ("virStorageVolGetName", "name"),
}
"""What an object itself says, and where its identity says the same."""

MAY_BE_EMPTY = {"virDomainBlockJobInfo"}
"""Structs without a member when there is nothing to tell: no job."""

HOST_DECIDES = {"virConnectGetSysinfo", "virDomainSetLaunchSecurityState", "virNodeGetSEVInfo"}
"""What a host with other hardware or rights has, or refuses by another error: libvirt's answer is enough."""

SUCCEEDS = "succeeds"
Receiver = Address | Identity


class Outcome(NamedTuple):
    """Of one function on one driver."""

    driver: str
    said: str
    why: str = ""


class Wrong(AssertionError):
    """A call came out otherwise than its recipe says."""


class Sweep:
    """`ok`, `each` and `no` make calls; what became of them stands in the other members."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._functions = load().served()
        self._components = {"components": {"schemas": _strict_schemas()}}
        self.outcomes: dict[str, set[Outcome]] = defaultdict(set)
        self.accepted: set[str] = set()
        """Functions of whose result an identity was used as a receiver, and was that object's."""
        self.wrong: list[str] = []

    async def follow(self, recipes: list[Awaitable[None]]) -> None:
        """Follow recipes side by side, each to its end: one run shows everything that is wrong."""
        await asyncio.gather(*map(self._follow, recipes))

    async def ok(self, receiver: Receiver, function: str, /, **params: Any) -> Any:
        """Call what has to succeed, hold its result against its schema, use the objects in it, return it."""
        address = _address(receiver)
        try:
            result = await self._client.call(address, function, params)
        except CallError as error:
            raise Wrong(f"{function} on {address.host}: {type(error).__name__} {error.data or error}") from None
        schema = result_schema(self._functions[function]) | self._components
        for flaw in Draft202012Validator(schema).iter_errors(result):
            raise Wrong(f"{function} on {address.host}: {flaw.message} at {flaw.json_path} of {result}")
        self.outcomes[function].add(Outcome(DRIVERS[address.host], SUCCEEDS))
        for identity in _identities(result):
            await self._use(function, identity)
        return result

    async def each(self, receiver: Receiver, *functions: str) -> None:
        """Call several that need no argument and have to succeed."""
        for function in functions:
            await self.ok(receiver, function)

    async def no(self, receiver: Receiver, function: str, code: str, why: str, /, **params: Any) -> None:
        """Call what libvirt has to refuse by this name of an error; `why` stands in the table."""
        address = _address(receiver)
        try:
            result = await self._client.call(address, function, params)
        except LibvirtFailed as error:
            if function not in HOST_DECIDES and (error.data or {}).get("codeName") != code:
                raise Wrong(f"{function} on {address.host}: {code} is expected, not {error.data}") from None
        except CallError as error:
            raise Wrong(f"{function} on {address.host}: our own {type(error).__name__}: {error}") from None
        else:
            if function not in HOST_DECIDES:
                raise Wrong(f"{function} on {address.host}: {code} is expected, not {result}")
            code, why = SUCCEEDS, ""
        self.outcomes[function].add(Outcome(DRIVERS[address.host], code, why))

    async def _use(self, function: str, identity: Identity) -> None:
        """Call an object that a function returned.  In a list there may be another recipe's, gone by now."""
        name, member = NAMERS[identity["class"]]
        try:
            said = await self._client.call(Address.of(identity), name)
        except LibvirtFailed as error:
            if (error.data or {}).get("codeName", "").startswith("VIR_ERR_NO_"):
                return
            raise
        if said != identity[member]:
            raise Wrong(f"{function}: {identity} calls itself {said}")
        self.accepted.add(function)

    async def _follow(self, recipe: Awaitable[None]) -> None:
        try:
            await recipe
        except Exception as error:  # noqa: BLE001 (the test fails with all of them)
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f for f in reversed(frames) if "recipes" in f.filename), frames[-1])
            self.wrong.append(f"{place.name}, line {place.lineno}: {type(error).__name__}: {error}")


Recipe = Callable[[Sweep, Any], Awaitable[None]]


def _address(receiver: Receiver) -> Address:
    return receiver if isinstance(receiver, Address) else Address.of(receiver)


def _strict_schemas() -> Any:
    """Return the contract's schemas, stricter: a struct has all its members and no others."""
    found = copy.deepcopy(openrpc()["components"]["schemas"])
    for name in load().structs.keys() - MAY_BE_EMPTY:
        found[name] |= {"required": list(found[name]["properties"]), "additionalProperties": False}
    return found


def _identities(value: Any) -> Iterator[Identity]:
    """Yield the objects in a result, whole ones: not the domain of a snapshot."""
    if isinstance(value, dict) and value.get("class") in CLASSES:
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _identities(item)
