"""`libvirt-amqp download`: what is in a volume, into a file here."""

from pathlib import Path

import click

from libvirt_amqp.cli import broker_again, run
from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import connect
from libvirt_amqp.streams import Hole, open_stream

SPARSE = 1
"""VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM."""


@click.command("download")
@click.argument("host")
@click.argument("volume", metavar="POOL/VOLUME")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sparse", is_flag=True, help="Leave holes as holes.")
@broker_again
@click.pass_obj
def command(broker: str, host: str, volume: str, file: Path, *, sparse: bool) -> None:
    """Write what is in the volume POOL/VOLUME of HOST into FILE; after an error FILE has what came before it."""
    run(_download(broker, host, volume, file, sparse=sparse))


async def _download(broker: str, host: str, volume: str, file: Path, *, sparse: bool) -> None:
    async with connect(broker, "libvirt-amqp download") as client:
        address = await resolve(client, host, f"storage-vol/{volume}")
        params = {"offset": 0, "length": 0, "flags": SPARSE if sparse else 0}
        async with await open_stream(client, address, "virStorageVolDownload", params) as stream:
            with file.open("wb") as target:
                async for part in stream.sparse() if sparse else stream:
                    if isinstance(part, Hole):
                        target.seek(part.length, 1)
                    else:
                        target.write(part)
                if sparse:
                    target.truncate()
    click.echo(f"{stream.read_bytes} bytes", err=True)
