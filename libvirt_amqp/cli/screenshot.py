"""`libvirt-amqp screenshot`: a picture of a guest's screen."""

from pathlib import Path

import click

from libvirt_amqp.cli import broker_again, run
from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import connect
from libvirt_amqp.streams import open_stream


@click.command("screenshot")
@click.argument("host")
@click.argument("domain")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--screen", default=0, show_default=True, help="Which of several screens.")
@broker_again
@click.pass_obj
def command(broker: str, host: str, domain: str, file: Path, screen: int) -> None:
    """Write a picture of the screen of DOMAIN (name, uuid or id) of HOST into FILE, in the hypervisor's format."""
    run(_screenshot(broker, host, domain, file, screen))


async def _screenshot(broker: str, host: str, domain: str, file: Path, screen: int) -> None:
    async with connect(broker, "libvirt-amqp screenshot") as client:
        address = await resolve(client, host, f"domain/{domain}")
        async with await open_stream(client, address, "virDomainScreenshot", {"screen": screen}) as stream:
            picture = b"".join([piece async for piece in stream])
    with file.open("wb") as target:
        target.write(picture)
    click.echo(f"{stream.result['return']}, {stream.read_bytes} bytes", err=True)
