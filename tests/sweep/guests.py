"""Guests of QEMU without an operating system, the disks they need, and facts to wait for."""

from pathlib import Path
from typing import Any

from conftest import eventually

from libvirt_amqp.objects import Identity
from sweep.hosts import Hosts
from sweep.sweep import Sweep

POOL_XML = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"
DISK_XML = "<volume><name>{}</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>"
RUNNING, PAUSED, SHUTOFF, PMSUSPENDED = 1, 3, 5, 7
"""Of virDomainState."""


def guest_xml(name: str, devices: str = "", more: str = "", memory: int = 16, cpu: str = "") -> str:
    """One or two CPUs by TCG; `memory` in MiB; `more` stands beside the devices, `cpu` beside the CPU's model."""
    return f"""<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu current='1'>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model>{cpu}</cpu>{more}
  <devices><controller type='usb' model='piix3-uhci'/>{devices}</devices>
</domain>"""


def disk_xml(path: object, target: str = "vda", kind: str = "qcow2") -> str:
    """A virtio disk in a file."""
    return f"""<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>
      <target dev='{target}' bus='virtio'/></disk>"""


async def started(sweep: Sweep, hosts: Hosts, xml: str) -> Identity:
    """Define a guest and start it; return its identity while it runs."""
    domain = await sweep.ok(hosts.qemu, "virDomainDefineXML", xml=xml)
    await sweep.ok(domain, "virDomainCreate")
    running: Identity = await sweep.ok(hosts.qemu, "virDomainLookupByName", name=domain["name"])
    return running


async def disks(sweep: Sweep, hosts: Hosts, folder: str, *names: str) -> list[str]:
    """Make empty disks of 1 MiB in a folder of their own; return their paths."""
    xml = POOL_XML.format(folder, hosts.folder / folder)
    pool = await sweep.ok(hosts.qemu, "virStoragePoolCreateXML", xmlDesc=xml, flags=1)
    made = [await sweep.ok(pool, "virStorageVolCreateXML", xmlDesc=DISK_XML.format(name)) for name in names]
    return [volume["path"] for volume in made]


def boot_disk(hosts: Hosts, name: str, image: bytes) -> Path:
    """Write a disk that a guest starts from."""
    path = hosts.folder / name
    path.write_bytes(image)
    path.chmod(0o666)
    return path


async def becomes(sweep: Sweep, domain: Identity, state: int) -> None:
    """Wait until a guest is in a state."""

    async def is_so() -> bool:
        found: dict[str, Any] = await sweep.ok(domain, "virDomainGetState")
        return bool(found["state"] == state)

    await eventually(is_so)


async def says(sweep: Sweep, domain: Identity, text: str, *, gone: bool = False) -> None:
    """Wait until a guest's XML has a text in it, or no longer has."""

    async def is_so() -> bool:
        return (text in await sweep.ok(domain, "virDomainGetXMLDesc")) != gone

    await eventually(is_so)
