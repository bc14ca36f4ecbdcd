"""Nodes full of domains: QEMU guests that run and do nothing, and the test driver behind a libvirtd."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import libvirt
from measure import HERE  # noqa: F401 (it makes scripts/ importable)
from private_libvirtd import PrivateLibvirtd

HALTS = b"\xfa\xb0\xff\xe6\x21\xe6\xa1\xb0\x30\xe6\x43\xf4\xeb\xfd"
"""cli; all interrupts masked (0xff to 0x21 and 0xa1); the timer stopped (0x30 to 0x43); hlt; jmp back to it.

With the timer left as it comes a halted guest costs 2.6 ms of CPU a second, more than most of what is measured.
"""
JUMPS = b"\xe9\x0d\xff"
"""jmp from 0xfff0 to 0xff00"""
FIRMWARE_BYTES, RESET_VECTOR, CODE = 65536, 0xFFF0, 0xFF00
STARTS_AT_ONCE = 4


class Node(NamedTuple):
    """A libvirtd and its running domains."""

    name: str
    size: int
    daemon: PrivateLibvirtd
    uri: str
    driver: str
    """The URI of the driver inside the libvirtd, for those who are told socket and driver one by one."""
    folder: Path


def guest_xml(name: str, folder: Path) -> str:
    """16 MiB, one CPU by TCG, no disk.

    The firmware halts the CPU for good, so a guest is running, as collectd demands, and uses no CPU of its own.  It has
    the balloon that libvirt gives every guest: polling it is one of the prices.  No acpi, no plugging in.
    """
    return f"""<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><loader type='rom' readonly='yes'>{folder}/firmware</loader></os>
  <features><acpi/></features><cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices><controller type='usb' model='none'/><memballoon model='virtio'/></devices>
</domain>"""


def disk_xml(folder: Path) -> str:
    """A disk that all of them can have at once."""
    return f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/disk'/>
  <target dev='vda' bus='virtio'/><readonly/><shareable/></disk>"""


@contextmanager
def qemu_node(size: int) -> Iterator[Node]:
    """Run so many guests."""
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as name, PrivateLibvirtd() as daemon:
        folder = Path(name)
        folder.chmod(0o755)  # libvirtd's user has to look into it
        _write_firmware(folder / "firmware")
        (folder / "disk").write_bytes(bytes(1024 * 1024))
        node = Node("QEMU", size, daemon, daemon.uri, "qemu:///session", folder)
        names = [f"guest{number}" for number in range(size)]
        _create(node, names[:1])  # libvirtd learns what QEMU can do
        with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
            list(pool.map(lambda part: _create(node, names[1:][part::STARTS_AT_ONCE]), range(STARTS_AT_ONCE)))
        yield node


@contextmanager
def test_node(size: int) -> Iterator[Node]:
    """Have so many running domains in the test driver of a libvirtd; they live as long as one connection is open."""
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as folder, PrivateLibvirtd() as daemon:
        connection = libvirt.open(daemon.test_uri)
        for number in range(size - connection.numOfDomains()):
            connection.createXML(
                f"<domain type='test'><name>guest{number}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
                "<os><type>hvm</type></os></domain>"
            )
        yield Node("test driver", size, daemon, daemon.test_uri, "test:///default", Path(folder))
        connection.close()


def attach_disks(node: Node) -> None:
    """Plug a disk into every guest."""
    connection = libvirt.open(node.uri)
    for domain in connection.listAllDomains():
        domain.attachDevice(disk_xml(node.folder))
    connection.close()


def _create(node: Node, names: list[str]) -> None:
    connection = libvirt.open(node.uri)
    for name in names:
        connection.createXML(guest_xml(name, node.folder))
    connection.close()


def _write_firmware(path: Path) -> None:
    image = bytearray(FIRMWARE_BYTES)
    for place, code in ((RESET_VECTOR, JUMPS), (CODE, HALTS)):
        image[place : place + len(code)] = code
    path.write_bytes(image)
