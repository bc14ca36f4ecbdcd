"""Where the sweep calls: agents on every driver of libvirt that can be had without a host of one's own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from conftest import Start
from private_libvirtd import PrivateLibvirtd
from sweep.privileged import PrivilegedLibvirtd

from libvirt_amqp.keys import Address

NODE_XML = """<node>
  <domain type='test'><name>from a file</name><uuid>0b1f4e1a-9a0c-4d1e-8b3a-111111111111</uuid>
    <memory>8192</memory><os><type>hvm</type></os></domain>
  {devices}
</node>"""
DEVICE_XML = "<device><name>{}</name><capability type='system'><hardware/><firmware/></capability></device>"


class Hosts(NamedTuple):
    """The connection of every agent, and what is needed beside them."""

    test: Address
    """test:///default: one state for all connections of the agent."""
    file: Address
    """The test driver with objects from a file: every connection has a copy of its own, so only to look at."""
    qemu: Address
    qemu2: Address
    system: Address
    """A privileged libvirtd without QEMU."""
    qemu2_uri: str
    folder: Path
    """What QEMU can write to."""


@asynccontextmanager
async def every_host(start_agent: Start, daemon: PrivateLibvirtd, devices: tuple[str, ...]) -> AsyncIterator[Hosts]:
    """Start a second libvirtd, a privileged one, and an agent on each; `devices` are the names of the file's."""
    with (
        PrivateLibvirtd(daemon.cache) as second,
        PrivilegedLibvirtd(daemon.cache) as system,
        tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        folder.chmod(0o777)
        node = folder / "node.xml"
        node.write_text(NODE_XML.format(devices="".join(map(DEVICE_XML.format, devices))))
        uris = {
            "test": "test:///default",
            "file": f"test://{node}",
            "qemu": daemon.uri,
            "qemu2": second.uri,
            "system": system.uri,
        }
        for host, uri in uris.items():
            await start_agent(host, uri=uri, secrets=True, stats_interval=60, heartbeat_interval=60)
        yield Hosts(*(Address(host, "connect") for host in uris), second.uri, folder)
