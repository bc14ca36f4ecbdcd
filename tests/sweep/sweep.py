"""Calls that have to succeed, or to be refused by libvirt, their results held against their schemas; and what came of it."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from libvirt_amqp.catalogue import Catalogue, load
from libvirt_amqp.client import Client
from libvirt_amqp.errors import CallError, LibvirtFailed
from libvirt_amqp.keys import Address
from libvirt_amqp.objects import Identity
from libvirt_amqp.schema import result_schema, schemas

DRIVERS = {
    "test": "test",
    "file": "test",
    "qemu": "QEMU",
    "qemu2": "QEMU",
    "system": "privileged",
}
"""By the first word of the key: the driver of libvirt behind the agent, as the table calls it."""

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
    """`ok`, `each` and `no` make calls; `outcomes` has what every function came to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._catalogue: Catalogue = load()
        self._components = {"components": {"schemas": schemas(self._catalogue)}}
        self.outcomes: dict[str, set[Outcome]] = {}

    async def ok(self, receiver: Receiver, function: str, /, **params: Any) -> Any:
        """Call what has to succeed, hold its result against its schema, and return it."""
        address = _address(receiver)
        try:
            result = await self._client.call(address, function, params)
        except CallError as error:
            raise Wrong(f"{function} on {address.host}: {type(error).__name__} {error.data or error}") from None
        schema = result_schema(self._catalogue.functions[function]) | self._components
        for flaw in Draft202012Validator(schema).iter_errors(result):
            raise Wrong(f"{function} on {address.host}: {flaw.message} at {flaw.json_path} of {result}")
        self._note(function, Outcome(DRIVERS[address.host], SUCCEEDS))
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
            if error.data is None or error.data["codeName"] != code:
                raise Wrong(f"{function} on {address.host}: {code} is expected, not {error.data}") from None
        except CallError as error:
            raise Wrong(f"{function} on {address.host}: our own {type(error).__name__}: {error}") from None
        else:
            raise Wrong(f"{function} on {address.host}: {code} is expected, not {result}")
        self._note(function, Outcome(DRIVERS[address.host], code, why))

    def _note(self, function: str, outcome: Outcome) -> None:
        self.outcomes.setdefault(function, set()).add(outcome)


def _address(receiver: Receiver) -> Address:
    return receiver if isinstance(receiver, Address) else Address.of(receiver)


async def collect(wrong: list[str], recipe: Awaitable[None]) -> None:
    """Follow a recipe to its end; what went wrong is added to a list, so that one run shows all of it."""
    try:
        await recipe
    except Exception as error:  # noqa: BLE001 (the test fails with all of them)
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "recipes" in f.filename), frames[-1])
        wrong.append(f"{place.name}, line {place.lineno}: {type(error).__name__}: {error}")


Recipe = Callable[..., Awaitable[None]]
