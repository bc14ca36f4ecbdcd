"""`libvirt-amqp ping`: is the agent alive, asked through the broker.  A container's health check."""

import os
import time

import click

from libvirt_amqp.cli import SECONDS, broker_again, fail, run
from libvirt_amqp.client import connect
from libvirt_amqp.keys import Address
from libvirt_amqp.local import host_name


@click.command("ping")
@click.argument("host", required=False)
@click.option("--timeout", type=SECONDS, default=5.0, show_default=True, help="Seconds to wait for the answer.")
@broker_again
@click.pass_obj
def command(broker: str, host: str | None, timeout: float) -> None:
    """Ask the agent of HOST for a sign of life (default: the agent of this machine)."""
    target = host or host_name(os.environ)
    if target is None:
        fail("which host? Name one, or set LIBVIRT_AMQP_HOST", 2)
    run(_ping(broker, str(target), timeout))


async def _ping(broker: str, host: str, timeout: float) -> None:  # noqa: ASYNC109 (an option's value)
    async with connect(broker, "libvirt-amqp ping") as client:
        start = time.monotonic()
        answer = await client.call(Address(host, "agent"), "ping", timeout=timeout)
        ms = (time.monotonic() - start) * 1000
    libvirt = "libvirt connected" if answer["libvirt"]["connected"] else "LIBVIRT NOT CONNECTED"
    click.echo(f"{host} is alive ({ms:.1f} ms): agent {answer['versions']['agent']}, {libvirt}")
