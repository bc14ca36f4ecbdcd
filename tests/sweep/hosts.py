"""Where the sweep calls: agents on every driver of libvirt that can be had without a host of one's own."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from conftest import answering
from private_libvirtd import PrivateLibvirtd

from app.service import running
from app.settings import Settings
from libvirt_amqp.keys import Address
from sweep.privileged import PrivilegedLibvirtd


class Hosts(NamedTuple):
    """The connection of every agent, and what is needed beside them."""

    test: Address
    """test:///default: one state for all connections of the agent."""
    qemu: Address
    qemu2: Address
    system: Address
    """A privileged libvirtd that can start no guests."""
    qemu2_uri: str
    folder: Path
    """What QEMU can write to."""
    privileged: PrivilegedLibvirtd
    """Behind `system`."""


@asynccontextmanager
async def every_host(broker_url: str) -> AsyncIterator[Hosts]:
    """Start two libvirtds with QEMU, a privileged one, and an agent on each and on the test driver."""
    async with AsyncExitStack() as stack:
        first = stack.enter_context(PrivateLibvirtd())
        second = stack.enter_context(PrivateLibvirtd(first.cache))
        system = stack.enter_context(PrivilegedLibvirtd(first.cache))
        folder = stack.enter_context(_open_folder())
        uris = {"test": "test:///default", "qemu": first.uri, "qemu2": second.uri, "system": system.uri}
        for host, uri in uris.items():
            settings = {"host": host, "uri": uri, "broker_url": broker_url, "state_dir": folder / "state" / host}
            await stack.enter_async_context(running(Settings(**settings, access="full", secrets=True)))
            await answering(broker_url, host)
        yield Hosts(*(Address(host, "connect") for host in uris), second.uri, folder, system)


@contextmanager
def _open_folder() -> Iterator[Path]:
    """A folder to which libvirtd's user can write."""
    with tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
