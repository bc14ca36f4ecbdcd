"""Checks the host's name: is one known, and who serves it."""

import asyncio
import contextlib
import os

from app.doctor.ask import Answer
from app.doctor.finding import Finding, advice, ok, unseen, wrong
from app.doctor.place import in_container
from app.settings import Settings
from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.client import connect
from libvirt_amqp.errors import CallError, NoAnswer, Unroutable
from libvirt_amqp.keys import Address
from libvirt_amqp.local import NotAlive, answers, kept, state_directories

NAME, SERVED = "host", "agent"
_SECONDS = 3.0


def check_name(settings: Settings, asked: tuple[Answer, ...]) -> tuple[Finding, str | None]:
    """Find out the name as the agent does."""
    if settings.host:
        return ok(NAME, f"{settings.host} (HOST)"), settings.host
    if last := kept(state_directories(os.environ, settings.state_dir)):
        return ok(NAME, f"{last.host} (kept in {last.directory})"), last.host
    if told := next((answer.hostname for answer in asked if answer.hostname), None):
        text = f"{told} (libvirt's name of this machine)"
        if in_container() and any((answer.uri or "").startswith("test:") for answer in asked):
            return advice(
                NAME, f"{text}: that of the container, and another with the next", "LIBVIRT_AMQP_HOST=NAME"
            ), told
        return ok(NAME, text), told
    mend = "LIBVIRT_AMQP_HOST=NAME   (or libvirt, which knows one)"
    return wrong(NAME, "no name is known: HOST is not set, none was kept, and libvirt cannot be asked", mend), None


async def check_served(url: str, host: str, settings: Settings, *, permit: str) -> Finding:
    """Ask over the broker who serves the host, and on this machine who lives here; `permit` is what lets us ask."""
    try:
        async with connect(url, "libvirt-amqp doctor") as client:
            answer = await client.call(Address(host, "agent"), "ping", timeout=_SECONDS)
    except Unroutable:
        return ok(SERVED, f"nobody serves {host}: it is free")
    except NoAnswer:
        mend = f"rabbitmqctl list_queues name owner_pid consumers | grep libvirt.rpc   (for {host})"
        return wrong(SERVED, f"the queue of {host} is held by somebody who does not answer", mend)
    except CallError as error:
        return ok(SERVED, f"an agent serves {host}, and says: {error.message}")
    except BrokerUnavailable as error:
        return unseen(SERVED, f"the broker does not let us ask who serves {host}: {error}", permit)
    if answer["instance"] in await asyncio.to_thread(_instances_here, settings):
        return ok(SERVED, f"the agent of this machine serves {host} (instance {answer['instance']})")
    mend = (
        f"LIBVIRT_AMQP_HOST=ANOTHER   (each agent needs a name of its own; or stop the other one, {answer['instance']})"
    )
    return wrong(SERVED, f"an agent that is not seen here serves {host}: one started here would end with 3", mend)


def _instances_here(settings: Settings) -> set[object]:
    found: set[object] = set()
    with contextlib.suppress(NotAlive):
        for news in answers(state_directories(os.environ, settings.state_dir), _SECONDS, []):
            found.add(news.get("instance"))
    return found
