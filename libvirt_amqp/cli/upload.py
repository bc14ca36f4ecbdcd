"""`libvirt-amqp upload`: a file from here into a volume."""

from pathlib import Path

import click

from libvirt_amqp.cli import broker_again, run
from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import connect
from libvirt_amqp.streams import PIECE, open_stream


@click.command("upload")
@click.argument("host")
@click.argument("volume", metavar="POOL/VOLUME")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@broker_again
@click.pass_obj
def command(broker: str, host: str, volume: str, file: Path) -> None:
    """Write what is in FILE into the volume POOL/VOLUME of HOST, from its beginning on; it has to be large enough."""
    run(_upload(broker, host, volume, file, file.stat().st_size))


async def _upload(broker: str, host: str, volume: str, file: Path, length: int) -> None:
    async with connect(broker, "libvirt-amqp upload") as client:
        address = await resolve(client, host, f"storage-vol/{volume}")
        params = {"offset": 0, "length": length}
        async with await open_stream(client, address, "virStorageVolUpload", params) as stream:
            with file.open("rb") as source:
                while piece := source.read(PIECE):
                    await stream.write(piece)
    click.echo(f"{stream.written_bytes} bytes", err=True)
