"""Domains: what happens to their disks while they run."""

from conftest import eventually
from guests.boot import BootSector

from libvirt_amqp.objects import Identity
from sweep.guests import boot_disk, disk_xml, disks, guest_xml, says, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

PIVOT, ACTIVE, TRANSIENT = 2, 4, 4
DISK_ONLY, NO_METADATA = 16, 4
SNAPSHOT_XML = "<domainsnapshot><name>{}</name></domainsnapshot>"


async def figures(sweep: Sweep, hosts: Hosts) -> None:
    path = boot_disk(hosts, "figures.img", BootSector().image())
    domain = await started(sweep, hosts, guest_xml("figures", disk_xml(path, kind="raw")))
    await sweep.ok(domain, "virDomainBlockStats", disk="vda")
    await sweep.ok(domain, "virDomainBlockStatsFlags", disk="vda")
    await sweep.ok(domain, "virDomainGetBlockInfo", disk="vda")
    await sweep.ok(domain, "virDomainGetBlockIoTune", disk="vda")
    await sweep.ok(domain, "virDomainSetBlockIoTune", disk="vda", params={"total_bytes_sec": 1048576})
    await sweep.ok(domain, "virDomainBlockPeek", disk="vda", offset=0, size=16)
    await sweep.ok(domain, "virDomainBlockResize", disk="vda", size=2048)
    await sweep.ok(domain, "virDomainSetBlockThreshold", dev="vda", threshold=65536)
    await sweep.ok(domain, "virDomainGetDiskErrors")
    await sweep.ok(domain, "virDomainDestroy")


async def copies(sweep: Sweep, hosts: Hosts) -> None:
    (path,) = await disks(sweep, hosts, "copies", "a")
    domain = await started(sweep, hosts, guest_xml("copies", disk_xml(path)))
    target = f"<disk type='file'><driver type='qcow2'/><source file='{path}.copy'/></disk>"
    await sweep.ok(domain, "virDomainBlockCopy", disk="vda", destxml=target, flags=TRANSIENT)
    await sweep.ok(domain, "virDomainGetBlockJobInfo", disk="vda")
    await sweep.ok(domain, "virDomainBlockJobSetSpeed", disk="vda", bandwidth=1)
    await sweep.ok(domain, "virDomainBlockJobAbort", disk="vda")
    await sweep.ok(domain, "virDomainDestroy")


async def chains(sweep: Sweep, hosts: Hosts) -> None:
    (path,) = await disks(sweep, hosts, "chains", "a")
    domain = await started(sweep, hosts, guest_xml("chains", disk_xml(path)))
    await _overlay(sweep, domain, "committed")
    await sweep.ok(domain, "virDomainBlockCommit", disk="vda", flags=ACTIVE)
    await says(sweep, domain, "ready='yes'")
    await sweep.ok(domain, "virDomainBlockJobAbort", disk="vda", flags=PIVOT)
    for pull in ("virDomainBlockPull", "virDomainBlockRebase"):
        await says(sweep, domain, "<mirror", gone=True)
        await _overlay(sweep, domain, pull)
        await sweep.ok(domain, pull, disk="vda")
        await _job_ends(sweep, domain)
    await sweep.ok(domain, "virDomainDestroy")


async def _overlay(sweep: Sweep, domain: Identity, name: str) -> None:
    """Put a new file on top of the disk."""
    xml = SNAPSHOT_XML.format(name)
    await sweep.ok(domain, "virDomainSnapshotCreateXML", xmlDesc=xml, flags=DISK_ONLY | NO_METADATA)


async def _job_ends(sweep: Sweep, domain: Identity) -> None:
    async def is_over() -> bool:
        job = await sweep.ok(domain, "virDomainGetBlockJobInfo", disk="vda")
        return not job or job["type"] == 0

    await eventually(is_over)
    await says(sweep, domain, "<backingStore/>")


RECIPES = (figures, copies, chains)
