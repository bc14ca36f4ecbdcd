"""`libvirt-amqp ping`: is the agent alive, asked through the broker, or on this machine alone.  A container's check."""

import os
import time

import click

from libvirt_amqp.cli import EXIT_NO_AGENT, SECONDS, broker_again, fail, run
from libvirt_amqp.local import NotAlive, ask_alive, directories_here, host_name, settings_file


@click.command("ping")
@click.argument("host", required=False)
@click.option("--timeout", type=SECONDS, default=5.0, show_default=True, help="Seconds to wait for the answer.")
@click.option("--local", is_flag=True, help="Ask the agent of this machine without the broker, which may be away.")
@broker_again
@click.pass_obj
def command(broker: str, host: str | None, timeout: float, *, local: bool) -> None:
    """Ask the agent of HOST for a sign of life (default: the agent of this machine).

    Through the broker this says that the agent serves; with --local, that its process works.
    """
    if local:
        if host is not None:
            fail("--local asks the agent of this machine: name no host", 2)
        _ping_here(timeout)
        return
    target = host or host_name(os.environ)
    if target is None:
        _, unread = settings_file()
        fail(f"which host? Name one, or set LIBVIRT_AMQP_HOST{f' ({unread})' if unread else ''}", 2)
    run(_ping(broker, str(target), timeout))


def _ping_here(seconds: float) -> None:
    try:
        news = ask_alive(directories_here(os.environ), seconds)
    except NotAlive as error:
        _, unread = settings_file()
        fail(f"no agent of this machine answers: {error}{f' ({unread})' if unread else ''}", EXIT_NO_AGENT)
    else:
        broker = "broker connected" if news["broker"] else "BROKER NOT CONNECTED"
        libvirt = "libvirt connected" if news["libvirt"] else "LIBVIRT NOT CONNECTED"
        click.echo(
            f"{news['host'] or 'an agent without a name yet'} is alive: agent {news['agent']}, {broker}, {libvirt}"
        )


async def _ping(broker: str, host: str, timeout: float) -> None:  # noqa: ASYNC109 (an option's value)
    from libvirt_amqp.client import connect  # noqa: PLC0415 (--local does without it)
    from libvirt_amqp.keys import Address  # noqa: PLC0415

    async with connect(broker, "libvirt-amqp ping") as client:
        start = time.monotonic()
        answer = await client.call(Address(host, "agent"), "ping", timeout=timeout)
        ms = (time.monotonic() - start) * 1000
    libvirt = "libvirt connected" if answer["libvirt"]["connected"] else "LIBVIRT NOT CONNECTED"
    click.echo(f"{host} is alive ({ms:.1f} ms): agent {answer['versions']['agent']}, {libvirt}")
