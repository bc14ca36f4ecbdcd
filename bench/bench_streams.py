"""A volume up and down over the bus, beside virsh on the same libvirtd: rate, digest, and the agent's memory."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import AGENT, HOST, agent_environment, answering, run, running, show
from private_libvirtd import PrivateLibvirtd  # found where measure looks for its own

from libvirt_amqp.client import Client, connect
from libvirt_amqp.keys import Address
from libvirt_amqp.streams import open_stream

MIB = 1024 * 1024
SIZE = int(sys.argv[1]) * MIB if len(sys.argv) > 1 else 1024 * MIB


async def volume(client: Client, folder: Path) -> Address:
    """Make a volume of the full size in a pool of its own."""
    folder.mkdir()
    folder.chmod(0o777)
    xml = f"<pool type='dir'><name>bench</name><target><path>{folder}</path></target></pool>"
    pool = Address.of(await client.call(Address(HOST, "connect"), "virStoragePoolCreateXML", {"xmlDesc": xml}))
    xml = f"<volume><name>v</name><capacity>{SIZE}</capacity><allocation>0</allocation></volume>"
    return Address.of(await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": xml}))


class Memory:
    """The most memory that a process was seen to have."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.first = self.most = self._resident()

    def look(self) -> None:
        self.most = max(self.most, self._resident())

    def _resident(self) -> int:
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


async def up(client: Client, address: Address, source: Path, memory: Memory) -> float:
    began = time.perf_counter()
    async with await open_stream(client, address, "virStorageVolUpload", {"offset": 0, "length": SIZE}) as stream:
        with source.open("rb") as file:
            while piece := file.read(MIB):
                await stream.write(piece)
                memory.look()
    return SIZE / MIB / (time.perf_counter() - began)


async def down(client: Client, address: Address, target: Path, memory: Memory) -> float:
    began = time.perf_counter()
    async with await open_stream(client, address, "virStorageVolDownload", {"offset": 0, "length": 0}) as stream:
        with target.open("wb") as file:
            async for piece in stream:
                file.write(piece)
                memory.look()
    return SIZE / MIB / (time.perf_counter() - began)


def virsh(uri: str, command: str, file: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["virsh", "-q", "-c", uri, command, "v", str(file), "--pool", "bench"], check=True)
    return SIZE / MIB / (time.perf_counter() - began)


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


async def main(url: str) -> None:
    """Measure and print."""
    with PrivateLibvirtd() as daemon, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "source", folder / "target"
        with source.open("wb") as file:
            for _ in range(SIZE // MIB):
                file.write(os.urandom(MIB))
        environment = agent_environment(url, str(folder / "state"), uri=daemon.uri, access="full")
        with running(AGENT, environment) as agent:
            await answering(url)
            async with connect(url) as client:
                address = await volume(client, daemon.socket.parent / "bench")
                memory = Memory(agent.pid)
                rows: list[list[str | float]] = []
                for rate, beside, label in (
                    (await up(client, address, source, memory), "vol-upload", "up"),
                    (await down(client, address, target, memory), "vol-download", "down"),
                ):
                    other = virsh(daemon.uri, beside, source if label == "up" else folder / "virsh")
                    rows.append([label, rate, other, rate / other])
        same = digest(source) == digest(target)
    title = (
        f"A volume of {SIZE // MIB} MiB: SHA-256 {'equal' if same else 'DIFFERENT'}, "
        f"agent's memory {memory.first} MiB before, {memory.most} MiB at most"
    )
    show(title, ("direction", "agent MiB/s", "virsh MiB/s", "agent / virsh"), rows)


if __name__ == "__main__":
    run(main)
