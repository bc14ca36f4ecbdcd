"""`libvirt-amqp hosts`: who is alive, heard from the heartbeats."""

import asyncio
import contextlib
from typing import Any

import click

from libvirt_amqp.cli import EXIT_NO_AGENT, SECONDS, broker_again, fail, run
from libvirt_amqp.client import connect
from libvirt_amqp.keys import STATS, is_of

_ROW = "{:<24} {:<8} {:<12} {:<8} {:<22} {}"


@click.command("hosts")
@click.option(
    "--wait", type=SECONDS, default=6.0, show_default=True, help="Seconds to listen (agents beat every 5 s by default)."
)
@broker_again
@click.pass_obj
def command(broker: str, wait: float) -> None:
    """List the hosts whose agents are alive.  Exit code 4 when there is none."""
    run(_hosts(broker, wait))


async def _hosts(broker: str, seconds: float) -> None:
    seen: dict[str, dict[str, Any]] = {}

    async def listen() -> None:
        async with connect(broker, "libvirt-amqp hosts") as client:
            async for message in client.subscribe({STATS: ["*.agent.heartbeat"]}):
                if is_of(message.key, host := message.body["data"]["object"]["host"]):
                    seen[host] = message.body["data"]

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(listen(), seconds)
    if not seen:
        fail(f"no heartbeat within {seconds:g} s", EXIT_NO_AGENT)
    click.echo(_ROW.format("HOST", "AGENT", "LIBVIRT", "DRIVER", "CONNECTED", "UPTIME"))
    for host in sorted(seen):
        click.echo(_line(host, seen[host]))


def _line(host: str, data: dict[str, Any]) -> str:
    versions, libvirt = data["versions"], data["libvirt"]
    connected = "yes" if libvirt["connected"] else f"no, since {libvirt['since'][11:19]} UTC"
    libvirt_version, driver = versions["libvirt"] or "?", versions["driver"] or "?"
    return _ROW.format(host, versions["agent"], libvirt_version, driver, connected, f"{data['uptime']:.0f} s")
