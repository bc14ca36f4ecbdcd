"""Domains: saved, restored, dumped, backed up, migrated."""

from typing import Any

from sweep.guests import RUNNING, becomes, disk_xml, disks, guest_xml, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

LIVE, PEER2PEER, TUNNELLED, PERSIST_DEST, UNDEFINE_SOURCE = 1, 2, 4, 8, 16
AUTO_POSTCOPY = 1 << 15
MOVE = LIVE | PEER2PEER | PERSIST_DEST | UNDEFINE_SOURCE


async def saves(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("saves"))
    file = f"{hosts.folder}/saved"
    saves: tuple[tuple[str, dict[str, Any]], ...] = (
        ("virDomainSave", {"to": file}),
        ("virDomainSaveFlags", {"to": file}),
        ("virDomainSaveParams", {"params": {"file": file}}),
    )
    restores: tuple[tuple[str, dict[str, Any]], ...] = (
        ("virDomainRestore", {"from": file}),
        ("virDomainRestoreFlags", {"from": file}),
        ("virDomainRestoreParams", {"params": {"file": file}}),
    )
    for (save, to), (restore, source) in zip(saves, restores, strict=True):
        await sweep.ok(domain, save, **to)
        xml = await sweep.ok(hosts.qemu, "virDomainSaveImageGetXMLDesc", file=file)
        await sweep.ok(hosts.qemu, "virDomainSaveImageDefineXML", file=file, dxml=xml)
        await sweep.ok(hosts.qemu, restore, **source)
        await becomes(sweep, domain, RUNNING)
    await sweep.ok(domain, "virDomainDestroy")


async def managed_saves(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("managed"))
    await sweep.ok(domain, "virDomainManagedSave")
    xml = await sweep.ok(domain, "virDomainManagedSaveGetXMLDesc")
    await sweep.ok(domain, "virDomainManagedSaveDefineXML", dxml=xml)
    await sweep.ok(domain, "virDomainManagedSaveRemove")


async def dumps(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("dumps"))
    await sweep.ok(domain, "virDomainCoreDump", to=f"{hosts.folder}/dump1")
    await sweep.ok(domain, "virDomainCoreDumpWithFormat", to=f"{hosts.folder}/dump2", dumpformat=0, flags=16)
    await sweep.ok(domain, "virDomainDestroy")


async def backups(sweep: Sweep, hosts: Hosts) -> None:
    (path,) = await disks(sweep, hosts, "backups", "a")
    domain = await started(sweep, hosts, guest_xml("backups", disk_xml(path)))
    socket = f"<server transport='unix' socket='{hosts.folder}/backup.sock'/>"
    for abort in ("virDomainAbortJob", "virDomainAbortJobFlags"):
        xml = f"<domainbackup mode='pull'>{socket}</domainbackup>"
        await sweep.ok(domain, "virDomainBackupBegin", backupXML=xml)
        await sweep.each(domain, "virDomainBackupGetXMLDesc", "virDomainGetJobStats", "virDomainGetJobInfo", abort)
    await sweep.ok(domain, "virDomainDestroy")


async def migrations(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("moves"))
    await sweep.ok(domain, "virDomainMigrateSetMaxSpeed", bandwidth=100)
    await sweep.ok(domain, "virDomainMigrateGetMaxSpeed")
    await sweep.ok(domain, "virDomainMigrateSetMaxDowntime", downtime=300)
    await sweep.ok(domain, "virDomainMigrateGetMaxDowntime")
    await sweep.ok(domain, "virDomainMigrateSetCompressionCache", cacheSize=1 << 20)
    await sweep.ok(domain, "virDomainMigrateGetCompressionCache")
    there, back = {**domain, "host": "qemu2"}, domain
    home = await sweep.ok(hosts.qemu, "virConnectGetURI")
    meeting = f"unix://{hosts.folder}/meeting.sock"
    await sweep.ok(domain, "virDomainMigrateToURI", duri=hosts.qemu2_uri, flags=MOVE | TUNNELLED)
    await becomes(sweep, there, RUNNING)
    await sweep.ok(there, "virDomainMigrateToURI2", dconnuri=home, miguri=meeting, flags=MOVE)
    await becomes(sweep, back, RUNNING)
    params = {"migrate_uri": meeting}
    await sweep.ok(back, "virDomainMigrateToURI3", dconnuri=hosts.qemu2_uri, params=params, flags=MOVE)
    await becomes(sweep, there, RUNNING)
    why = "needs a migration that is running and a host that lets users handle page faults"
    await sweep.no(there, "virDomainMigrateStartPostCopy", "VIR_ERR_OPERATION_INVALID", why)
    await sweep.ok(there, "virDomainDestroy")


RECIPES = (saves, managed_saves, dumps, backups, migrations)
