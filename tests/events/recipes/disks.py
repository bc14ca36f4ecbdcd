"""Disks: full ones, missing ones, their jobs and their trays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from conftest import eventually
from guests.boot import BootSector
from sweep.guests import boot_disk, disk_xml, disks, guest_xml, started
from sweep.hosts import Hosts

from events.run import Run
from libvirt_amqp.objects import Identity

START_PAUSED = 1
LIVE = 1
TRANSIENT_JOB = 4
"""VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB."""
ACTIVE = 4
"""VIR_DOMAIN_BLOCK_COMMIT_ACTIVE."""
PIVOT = 2
DISK_ONLY, NO_METADATA = 16, 4
SNAPSHOT_XML = "<domainsnapshot><name>{}</name></domainsnapshot>"
NBD_XML = """<disk type='network' device='disk'><driver name='qemu' type='raw' error_policy='stop'/>
  <source protocol='nbd' name='full'><host transport='unix' socket='{}'/></source>
  <target dev='vda' bus='virtio'/><alias name='ua-full'/></disk>"""
CD_XML = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>{}<target dev='hdc' bus='ide'/>
  <readonly/><alias name='ua-cd'/></disk>"""
MISSING = "/no/such/file"
MISSING_XML = f"<source file='{MISSING}' startupPolicy='optional'/>"


async def full(run: Run, hosts: Hosts) -> None:
    image = boot_disk(hosts, "full.img", BootSector().write_disk().image())
    async with _full_disk(image, hosts.folder / "full.sock") as socket:
        xml = guest_xml("writes", NBD_XML.format(socket))
        domain = await run.ok(hosts.qemu, "virDomainCreateXML", xmlDesc=xml)
        fields = {"srcPath": "full", "devAlias": "ua-full", "action": 1}
        names = {"action": "VIR_DOMAIN_EVENT_IO_ERROR_PAUSE"}
        await run.event(domain, "io-error", **fields, names=names)
        await run.event(domain, "io-error-reason", **fields, reason="enospc", names=names)
        await run.lifecycle(domain, "SUSPENDED_IOERROR")
        await run.ok(domain, "virDomainDestroy")


async def threshold(run: Run, hosts: Hosts) -> None:
    path = boot_disk(hosts, "threshold.img", BootSector().write_disk().image())
    xml = guest_xml("fills", disk_xml(path, kind="raw"))
    domain = await run.ok(hosts.qemu, "virDomainCreateXML", xmlDesc=xml, flags=START_PAUSED)
    await run.ok(domain, "virDomainSetBlockThreshold", dev="vda", threshold=65536)
    await run.ok(domain, "virDomainResume")
    event = await run.event(domain, "block-threshold", dev="vda", path=str(path), threshold=65536, names={})
    assert event["excess"] > 0
    await run.ok(domain, "virDomainDestroy")


async def missing(run: Run, hosts: Hosts) -> None:
    disk = disk_xml(MISSING, "vdb").replace(f"<source file='{MISSING}'/>", f"{MISSING_XML}<alias name='ua-disk'/>")
    domain = await started(run, hosts, guest_xml("lacks", disk + CD_XML.format(MISSING_XML)))
    for alias, reason in (("ua-cd", "CHANGE"), ("ua-disk", "DROP")):
        names = {"reason": f"VIR_DOMAIN_EVENT_DISK_{reason}_MISSING_ON_START"}
        paths = {"oldSrcPath": MISSING, "newSrcPath": None}
        await run.event(domain, "disk-change", **paths, devAlias=alias, names=names)
    await run.ok(domain, "virDomainDestroy")
    await run.ok(domain, "virDomainUndefine")


async def tray(run: Run, hosts: Hosts) -> None:
    source = f"<source file='{boot_disk(hosts, 'cd.iso', bytes(65536))}'/>"
    xml = guest_xml("ejects", CD_XML.format(source))
    # Paused: a BIOS that looks for something to start from closes the tray.
    domain = await run.ok(hosts.qemu, "virDomainCreateXML", xmlDesc=xml, flags=START_PAUSED)
    for content, reason in (("", "OPEN"), (source, "CLOSE")):
        await run.ok(domain, "virDomainUpdateDeviceFlags", xml=CD_XML.format(content), flags=LIVE)
        names = {"reason": f"VIR_DOMAIN_EVENT_TRAY_CHANGE_{reason}"}
        await run.event(domain, "tray-change", devAlias="ua-cd", names=names)
    await run.ok(domain, "virDomainDestroy")


async def jobs(run: Run, hosts: Hosts) -> None:
    (path,) = await disks(run, hosts, "jobs", "a")
    domain = await started(run, hosts, guest_xml("copies", disk_xml(path)))
    target = f"<disk type='file'><driver type='qcow2'/><source file='{path}.copy'/></disk>"
    await run.ok(domain, "virDomainBlockCopy", disk="vda", destxml=target, flags=TRANSIENT_JOB)
    await _both(run, domain, path, "COPY", "READY")
    await run.ok(domain, "virDomainBlockJobAbort", disk="vda")
    await _both(run, domain, path, "COPY", "CANCELED")
    await run.ok(
        domain, "virDomainSnapshotCreateXML", xmlDesc=SNAPSHOT_XML.format("top"), flags=DISK_ONLY | NO_METADATA
    )
    await run.ok(domain, "virDomainBlockCommit", disk="vda", flags=ACTIVE)
    await _both(run, domain, f"{path}.top", "ACTIVE_COMMIT", "READY")
    await run.ok(domain, "virDomainBlockJobAbort", disk="vda", flags=PIVOT)
    await _both(run, domain, None, "ACTIVE_COMMIT", "COMPLETED")
    await run.ok(domain, "virDomainSnapshotCreateXML", xmlDesc=SNAPSHOT_XML.format("up"), flags=DISK_ONLY | NO_METADATA)
    await run.ok(domain, "virDomainBlockPull", disk="vda")
    await _both(run, domain, None, "PULL", "COMPLETED")
    await run.ok(domain, "virDomainDestroy")


async def _both(run: Run, domain: Identity, path: str | None, job: str, status: str) -> None:
    """Wait for a job's event with the disk's path, and for its other one with the disk's target."""
    names = {"type": f"VIR_DOMAIN_BLOCK_JOB_TYPE_{job}", "status": f"VIR_DOMAIN_BLOCK_JOB_{status}"}
    await run.event(domain, "block-job", **({"disk": path} if path else {}), names=names)
    await run.event(domain, "block-job-2", disk="vda", names=names)


@asynccontextmanager
async def _full_disk(image: Path, socket: Path) -> AsyncIterator[Path]:
    """Serve an image of which nothing can be written: the disk that it is on is full (ENOSPC, 28)."""
    options = f"driver=blkdebug,image.driver=file,image.filename={image}"
    options += ",inject-error.0.event=none,inject-error.0.iotype=write,inject-error.0.errno=28"
    command = ("qemu-nbd", f"--socket={socket}", "--export-name=full", "--persistent", "--image-opts", options)
    server = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually(socket.exists, 20)
        socket.chmod(0o777)
        yield socket
    finally:
        server.terminate()
        await server.wait()


RECIPES = (full, threshold, missing, tray, jobs)
