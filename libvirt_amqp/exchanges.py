"""Declares the contract's exchanges: for who may make them, and for who may only use those that are there."""

from collections.abc import Iterable

from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity


class ExchangeMissing(RuntimeError):
    """An exchange is not there, and this user may not make it."""


async def declare(connection: AbstractConnection, names: Iterable[str], *, look_first: bool) -> None:
    """Make durable topic exchanges, or be content that they are there.  Raises ExchangeMissing.

    RabbitMQ wants the permission to configure an exchange, with which it could be deleted as well, even for declaring
    one that is there.  For a passive declare it wants none, but then does not compare the type: so an agent looks
    second, and whoever only uses the exchange first, because each refusal is an error in the broker's log.  Broker-J
    compares, and closes the whole connection over a refusal: there everybody looks first.
    """
    try:
        await _declare(connection, names, passive=look_first)
    except (ChannelAccessRefused, ChannelNotFoundEntity) as refusal:
        try:
            await _declare(connection, names, passive=not look_first)
        except ChannelNotFoundEntity as error:
            raise ExchangeMissing(f"{error}, and this user may not make it: {refusal}") from error


async def _declare(connection: AbstractConnection, names: Iterable[str], *, passive: bool) -> None:
    """Declare on a channel of its own, because a refusal costs the channel."""
    channel = await connection.channel(publisher_confirms=False)
    for name in names:
        await channel.exchange_declare(name, exchange_type="topic", durable=True, passive=passive)
    await channel.close()
