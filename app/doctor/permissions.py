"""Checks what the broker lets us do, by doing it, so that nothing is left behind and no reader notices.

An event to try with would be an event.  So what is published has an `expiration` that RabbitMQ refuses, after it has
looked at the permissions and before it routes: 406 says "you might", 403 "you may not".  Broker-J reads a moment there,
and drops what expired in 1970.  And the bindings of the host's queue are not made but undone, which asks for the same
permissions, so that no request goes astray.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from app.doctor.broker import user, vhost
from app.doctor.finding import Finding, advice, ok, unseen, wrong
from libvirt_amqp.broker import BrokerUnavailable, Channel, Link, QueueHeld, open_link
from libvirt_amqp.keys import ANY, EVENTS, RPC, STATS, Address, encode_word
from libvirt_amqp.wire import Properties

_VERDICT_SECONDS = 2.0
_REFUSED = re.compile(r"ACCESS_REFUSED|403|refused for user|denied")
_UNDECIDED = "undecided"

Act = Callable[[Link, Channel], Awaitable[None]]


@dataclass(frozen=True)
class Role:
    """Whom the broker knows, where, and for which host it wants to speak."""

    url: str
    host: str

    @property
    def queue(self) -> str:
        """The host's queue of requests."""
        return f"libvirt.rpc.{encode_word(self.host)}"

    def permissions(self) -> str:
        """Return the line that gives an agent everything it needs but the topics."""
        queue = _escaped(self.queue)
        names = r"libvirt\.(events|stats|rpc)"
        patterns = (f"({names}|{queue}|amq\\.gen-.*)", f"({names}|{queue}|amq\\.(gen-.*|default))")
        parts = (*patterns, f"(libvirt\\.rpc|{queue}|amq\\.gen-.*)")
        quoted = " ".join(f"'^{part}$'" for part in parts)
        return f"rabbitmqctl set_permissions -p {vhost(self.url)} {user(self.url)} {quoted}"

    def topics(self, exchange: str) -> str:
        """Return the line that lets an agent speak for its host on an exchange, and for no other."""
        word = _escaped(encode_word(self.host))
        write = f"^{word}\\.agent\\.ping$" if exchange == RPC else f"^{word}\\."
        read = f"^({word}\\.#|{ANY}\\.connect\\.\\*)$" if exchange == RPC else "^$"
        where = f"-p {vhost(self.url)} {user(self.url)} {exchange}"
        return f"rabbitmqctl set_topic_permissions {where} '{write}' '{read}'"


async def check(role: Role, product: str) -> list[Finding]:
    """Try everything that an agent does with the broker."""
    found = [await _exchanges(role)]
    if found[0].mend is not None:
        return found
    ours, foreign = Address(role.host, "agent").key("doctor"), Address(f"not-{role.host}", "agent").key("doctor")
    queue, events, stats, replies, other = await asyncio.gather(
        _queue(role),
        _publishing(role, product, EVENTS, ours, "publish events"),
        _publishing(role, product, STATS, ours, "publish statistics"),
        _publishing(role, product, "", f"libvirt-amqp.doctor.{uuid.uuid4().hex}", "publish replies"),
        _try(role.url, _publish(product, EVENTS, foreign)),
    )
    return [*found, queue, events, stats, replies, _foreign(role, other)]


async def _exchanges(role: Role) -> Finding:
    async def declare(_link: Link, channel: Channel) -> None:
        for name in (EVENTS, STATS, RPC):
            await channel.declare_exchange(name)

    refusal = await _try(role.url, declare)
    if refusal is None:
        return ok("exchanges", f"{EVENTS}, {STATS}, {RPC}")
    if re.search("PRECONDITION_FAILED|NOT_ALLOWED|inequivalent", refusal):
        name = (re.findall(r"libvirt\.\w+", refusal) or [EVENTS])[0]
        mend = f"rabbitmqadmin -V {vhost(role.url)} delete exchange name={name}   (the agent makes it anew)"
        return wrong("exchanges", f"{name} is no durable topic exchange: {refusal}", mend)
    return wrong("exchanges", refusal, role.permissions())


async def _queue(role: Role) -> Finding:
    async def consume(_link: Link, channel: Channel) -> None:
        await channel.consume(await channel.declare_queue(role.queue), lambda _delivery: None)

    async def unbind(_link: Link, channel: Channel) -> None:
        queue = await channel.declare_queue(role.queue)
        for key in (f"{encode_word(role.host)}.#", f"{ANY}.connect.*"):
            await channel.unbind(queue, RPC, key)

    check = "receive calls"
    try:
        for act in (consume, unbind):
            refusal = await _try(role.url, act)
            if refusal is not None and not re.search("NOT_FOUND|No such binding", refusal):
                return wrong(check, refusal, role.topics(RPC) if "topic" in refusal else role.permissions())
    except QueueHeld:
        return ok(check, f"{role.queue} is in use (see agent)")
    return ok(check, f"{role.queue} can be declared, bound to {RPC} and consumed")


async def _publishing(role: Role, product: str, exchange: str, key: str, check: str) -> Finding:
    refusal = await _try(role.url, _publish(product, exchange, key))
    what = f"{exchange or 'the default exchange'}, {key}" if exchange else "the default exchange"
    if refusal is None:
        return ok(check, f"{what}: allowed")
    if refusal == _UNDECIDED:
        return unseen(check, f"{product} does not say whether {what} is allowed", "see the broker's log")
    return wrong(check, refusal, role.topics(exchange) if "topic" in refusal else role.permissions())


def _foreign(role: Role, refusal: str | None) -> Finding:
    check = "other hosts' events"
    if refusal is None:
        text = f"the broker lets user {user(role.url)} speak for every host"
        return advice(check, text, role.topics(EVENTS))
    if refusal == _UNDECIDED:
        return unseen(check, "the broker does not say whether they are allowed")
    return ok(check, f"refused, as it should be: {refusal}")


def _publish(product: str, exchange: str, key: str) -> Act:
    expiration = "1" if "qpid" in product.lower() else "doctor"

    async def publish(link: Link, channel: Channel) -> None:
        channel.outlet.publish(exchange, key, b"", Properties("application/octet-stream", expiration=expiration))
        await channel.outlet.flush()
        await asyncio.wait({link.lost}, timeout=_VERDICT_SECONDS)
        reason = link.lost.result() if link.lost.done() else ""
        if _REFUSED.search(reason):
            raise BrokerUnavailable(reason)
        if not reason and expiration == "doctor":
            raise BrokerUnavailable(_UNDECIDED)

    return publish


async def _try(url: str, act: Act) -> str | None:
    """Do something on a connection of its own, which a refusal may cost; return the refusal.  Raises QueueHeld."""
    try:
        link = await open_link(url, "libvirt-amqp doctor")
        try:
            await act(link, await link.channel())
        finally:
            await link.close()
    except QueueHeld:
        raise
    except BrokerUnavailable as error:
        return _first_line(str(error).splitlines())
    return None


def _escaped(word: str) -> str:
    """Return a word as it stands in a broker's pattern: the only special character that one can have is the dot."""
    return word.replace(".", r"\.")


def _first_line(lines: Iterable[str]) -> str:
    return next(iter(lines), "refused without a word")
