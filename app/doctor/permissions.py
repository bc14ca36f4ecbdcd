"""Checks what the broker lets us do, by doing it, so that nothing is left behind and no reader notices.

An event to try with would be an event.  So what is published is something that RabbitMQ refuses after it has looked at
the permissions and before it routes: 406 says "you might", 403 "you may not".  That is an `expiration` that is no
number, which 4.x looks at before the topic's permission, and somebody else's `user_id`, which all look at after it; the
second is tried only where it was seen to be refused: a user that may impersonate others would publish.  Broker-J
reads a moment in `expiration`, and drops what expired in 1970.  And the bindings of the host's queue are not made but
undone, which asks for the same permissions, so that no request goes astray.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from app.doctor.finding import Finding, advice, ok, unseen, wrong
from app.doctor.login import BY_CERTIFICATE, user, vhost
from libvirt_amqp.broker import BrokerUnavailable, Channel, Link, QueueHeld, open_link
from libvirt_amqp.keys import ANY, EVENTS, RPC, STATS, Address, decode_word, encode_word
from libvirt_amqp.wire import Properties

RABBITMQ = "RabbitMQ"
_VERDICT_SECONDS = 2.0
_REFUSED = re.compile(r"ACCESS_REFUSED|403|refused for user|denied")
_UNDECIDED = "undecided"
_KIND = "application/octet-stream"
_IMPOSSIBLE, _EXPIRED = Properties(_KIND, expiration="doctor"), Properties(_KIND, expiration="1")
_FORGED = Properties(_KIND, user_id="libvirt-amqp doctor")

Act = Callable[[Link, Channel], Awaitable[None]]


@dataclass(frozen=True)
class Role:
    """Whom the broker knows, where, and for which host it wants to speak."""

    url: str
    host: str
    product: str = RABBITMQ
    is_anothers: bool = False
    """The user was seen to speak for the host of its own name, which is another."""

    @property
    def queue(self) -> str:
        """The host's queue of requests."""
        return f"libvirt.rpc.{encode_word(self.host)}"

    @property
    def word(self) -> str:
        """The host in keys, which is the name that its user has to have."""
        return encode_word(self.host)

    @property
    def is_users_own(self) -> bool:
        """Say whether the user may get the role of this host: it has that name, or nobody here knows its name."""
        return user(self.url) in {self.word, BY_CERTIFICATE}

    def permissions(self) -> str:
        """Return the line that gives an agent everything it needs but the topics."""
        return self._unless_anothers(self._permissions(user(self.url)))

    def _permissions(self, name: str) -> str:
        queue = _escaped(self.queue)
        names = r"libvirt\.(events|stats|rpc)"
        patterns = (f"({names}|{queue}|amq\\.gen-.*)", f"({names}|{queue}|amq\\.(gen-.*|default))")
        parts = (*patterns, f"(libvirt\\.rpc|{queue}|amq\\.gen-.*)")
        quoted = " ".join(f"'^{part}$'" for part in parts)
        return f"rabbitmqctl set_permissions -p {vhost(self.url)} {name} {quoted}"

    def topics(self, exchange: str) -> str:
        """Return the line that lets an agent speak for its host on an exchange, and for no other."""
        word = _escaped(self.word)
        write = f"^{word}\\.agent\\.ping$" if exchange == RPC else f"^{word}\\."
        read = f"^({word}\\.#|{ANY}\\.connect\\.\\*)$" if exchange == RPC else "^$"
        where = f"-p {vhost(self.url)} {user(self.url)} {exchange}"
        return self._unless_anothers(f"rabbitmqctl set_topic_permissions {where} '{write}' '{read}'")

    def _unless_anothers(self, line: str) -> str:
        """Return the line, but for a user of another name: it would lose what it has, and perhaps its agent with it."""
        if self.is_anothers:
            return f"LIBVIRT_AMQP_HOST={decode_word(user(self.url))}   (the host that this user speaks for)"
        if not self.is_users_own:
            name = self.word
            made = (
                "" if self.product != RABBITMQ else f"rabbitmqctl add_user {name} PASSWORD; {self._permissions(name)}"
            )
            then = f"then {name.replace('%', '%25')}:PASSWORD in LIBVIRT_AMQP_BROKER_URL"
            return f"{made or f'make a user {name}'}   (a host's user has its name; {then})"
        if self.product != RABBITMQ:
            return f"give {self.word} an agent's rights in the broker's access control (docs/operations.md, section 4)"
        return line


async def check(role: Role) -> list[Finding]:
    """Try everything that an agent does with the broker."""
    found = [await _exchanges(role)]
    if found[0].mend is not None:
        return found
    ours, foreign = Address(role.host, "agent").key("doctor"), Address(f"not-{role.host}", "agent").key("doctor")
    nowhere = f"libvirt-amqp.doctor.{uuid.uuid4().hex}"
    may_forge = await _may_forge(role)
    queue, events, stats, replies, other = await asyncio.gather(
        _queue(role),
        _publishing(role, EVENTS, ours, "publish events", may_forge=may_forge),
        _publishing(role, STATS, ours, "publish statistics", may_forge=may_forge),
        _publishing(role, "", nowhere, "publish replies", may_forge=may_forge),
        _verdict(role, EVENTS, foreign, may_forge=may_forge),
    )
    return [*found, queue, events, stats, replies, _foreign(role, other)]


async def acquainted(role: Role) -> Role:
    """Find out whether the user is another host's: it may speak for the host of its name, and not for this one."""
    if role.is_users_own:
        return role
    try:
        theirs = Address(decode_word(user(role.url)), "agent").key("doctor")
    except ValueError:
        return role
    may_forge, ours = await _may_forge(role), Address(role.host, "agent").key("doctor")
    verdicts = [await _verdict(role, EVENTS, key, may_forge=may_forge) for key in (theirs, ours)]
    return replace(role, is_anothers=verdicts[0] is None and verdicts[1] not in {None, _UNDECIDED})


async def _may_forge(role: Role) -> bool:
    """Say whether a message in another user's name is refused: such a one can be tried without being heard."""
    nowhere = f"libvirt-amqp.doctor.{uuid.uuid4().hex}"
    return role.product == RABBITMQ and await _try(role.url, _publish("", nowhere, _FORGED)) is None


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


async def _publishing(role: Role, exchange: str, key: str, check: str, *, may_forge: bool) -> Finding:
    refusal = await _verdict(role, exchange, key, may_forge=may_forge)
    what = f"{exchange}, {key}" if exchange else "the default exchange"
    if refusal is None:
        return ok(check, f"{what}: allowed")
    if refusal == _UNDECIDED:
        return unseen(check, f"{what}: cannot be tried without being heard", _untried(role))
    return wrong(check, refusal, role.topics(exchange) if "topic" in refusal else role.permissions())


def _untried(role: Role) -> str:
    tag = f"rabbitmqctl set_user_tags {user(role.url)}   (without impersonator"
    return f"{tag}; or mend first that replies are refused)"


async def _verdict(role: Role, exchange: str, key: str, *, may_forge: bool) -> str | None:
    """Return why we may not publish, None when we may, _UNDECIDED when that cannot be told."""
    if "qpid" in role.product.lower():
        return await _try(role.url, _publish(exchange, key, _EXPIRED))
    refusal = await _try(role.url, _publish(exchange, key, _IMPOSSIBLE))
    if refusal is not None or not exchange:
        return refusal
    return await _try(role.url, _publish(exchange, key, _FORGED)) if may_forge else _UNDECIDED


def _foreign(role: Role, refusal: str | None) -> Finding:
    check = "other hosts' events"
    if refusal is None:
        text = f"the broker lets user {user(role.url)} speak for every host"
        return advice(check, text, role.topics(EVENTS))
    if refusal == _UNDECIDED:
        return unseen(check, "cannot be tried without being heard", _untried(role))
    return ok(check, f"refused, as it should be: {refusal}")


def _publish(exchange: str, key: str, properties: Properties) -> Act:
    async def publish(link: Link, channel: Channel) -> None:
        channel.outlet.publish(exchange, key, b"", properties)
        await channel.outlet.flush()
        await asyncio.wait({link.lost}, timeout=_VERDICT_SECONDS)
        reason = link.lost.result() if link.lost.done() else ""
        if _REFUSED.search(reason):
            raise BrokerUnavailable(reason)
        if not reason and properties is not _EXPIRED:
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
