"""Domains that come and go: every detail of a lifecycle event that can be had."""

import contextlib
import os
import signal
from pathlib import Path

from sweep.guests import RUNNING, becomes, disk_xml, disks, guest_xml, started
from sweep.hosts import Hosts
from sweep.recipes.domain_jobs import MOVE
from sweep.recipes.domain_life import TEST_XML

from events.run import Run
from libvirt_amqp.objects import Identity

PAUSED = 1
RESTORE_PAUSED = 4
RUN_AFTER_REVERT, PAUSE_AFTER_REVERT = 1, 2
SNAPSHOTS_TOO = 2
SNAPSHOT_XML = "<domainsnapshot><name>{}</name></domainsnapshot>"


async def on_the_test_driver(run: Run, hosts: Hosts) -> None:
    domain = await run.ok(hosts.test, "virDomainDefineXML", xml=TEST_XML.format("comes"))
    await run.lifecycle(domain, "DEFINED_ADDED")
    await run.ok(domain, "virDomainCreate")
    await run.lifecycle(domain, "STARTED_BOOTED")
    await run.ok(domain, "virDomainSuspend")
    await run.lifecycle(domain, "SUSPENDED_PAUSED")
    await run.ok(domain, "virDomainResume")
    await run.lifecycle(domain, "RESUMED_UNPAUSED")
    await run.ok(domain, "virDomainSave", to=f"{hosts.folder}/test.save")
    await run.lifecycle(domain, "STOPPED_SAVED")
    await run.ok(hosts.test, "virDomainRestore", **{"from": f"{hosts.folder}/test.save"})
    await run.lifecycle(domain, "STARTED_RESTORED")
    await run.ok(domain, "virDomainShutdown")
    await run.lifecycle(domain, "STOPPED_SHUTDOWN")
    await run.ok(domain, "virDomainCreate")
    await run.ok(domain, "virDomainDestroy")
    await run.lifecycle(domain, "STOPPED_DESTROYED")
    await run.ok(domain, "virDomainUndefine")
    await run.lifecycle(domain, "UNDEFINED_REMOVED")


async def on_qemu(run: Run, hosts: Hosts) -> None:
    domain = await run.ok(hosts.qemu, "virDomainDefineXML", xml=guest_xml("comes"))
    await run.lifecycle(domain, "DEFINED_ADDED")
    xml = await run.ok(domain, "virDomainGetXMLDesc")
    await run.ok(hosts.qemu, "virDomainDefineXML", xml=xml)
    await run.lifecycle(domain, "DEFINED_UPDATED")
    await run.ok(domain, "virDomainRename", new_name="comes and goes")
    await run.lifecycle(domain, "UNDEFINED_RENAMED", "DEFINED_RENAMED")
    await run.ok(domain, "virDomainCreateWithFlags", flags=PAUSED)
    await run.lifecycle(domain, "STARTED_BOOTED", "SUSPENDED_PAUSED")
    await run.ok(domain, "virDomainResume")
    await run.lifecycle(domain, "RESUMED_UNPAUSED")
    await run.ok(domain, "virDomainSave", to=f"{hosts.folder}/saved paused")
    await run.ok(hosts.qemu, "virDomainRestoreFlags", **{"from": f"{hosts.folder}/saved paused"}, flags=RESTORE_PAUSED)
    await run.lifecycle(domain, "SUSPENDED_RESTORED")
    await run.ok(domain, "virDomainDestroy")
    await run.lifecycle(domain, "STOPPED_DESTROYED")
    await run.ok(domain, "virDomainUndefine")
    await run.lifecycle(domain, "UNDEFINED_REMOVED")


async def ended_by_the_host(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("ends by a signal"))
    os.kill(_process_of(domain), signal.SIGTERM)
    await run.lifecycle(domain, "SHUTDOWN_HOST", "STOPPED_SHUTDOWN")


async def killed(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("killed"))
    os.kill(_process_of(domain), signal.SIGKILL)
    await run.lifecycle(domain, "STOPPED_FAILED")


async def snapshots(run: Run, hosts: Hosts) -> None:
    (path,) = await disks(run, hosts, "snapshots", "a")
    domain = await started(run, hosts, guest_xml("reverts", disk_xml(path)))
    running = await run.ok(domain, "virDomainSnapshotCreateXML", xmlDesc=SNAPSHOT_XML.format("running"))
    await run.ok(running, "virDomainRevertToSnapshot", flags=PAUSE_AFTER_REVERT)
    await run.lifecycle(domain, "STOPPED_FROM_SNAPSHOT", "DEFINED_FROM_SNAPSHOT", "STARTED_FROM_SNAPSHOT")
    await run.lifecycle(domain, "SUSPENDED_FROM_SNAPSHOT")
    await run.ok(running, "virDomainRevertToSnapshot", flags=RUN_AFTER_REVERT)
    await run.lifecycle(domain, "RESUMED_FROM_SNAPSHOT")
    await run.ok(domain, "virDomainDestroy")
    await run.ok(domain, "virDomainUndefineFlags", flags=SNAPSHOTS_TOO)


async def migration(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("travels"))
    params = {"migrate_uri": f"unix://{hosts.folder}/crossing.sock"}
    await run.ok(domain, "virDomainMigrateToURI3", dconnuri=hosts.qemu2_uri, params=params, flags=MOVE)
    await run.lifecycle(domain, "SUSPENDED_MIGRATED", "STOPPED_MIGRATED")
    there = {**domain, "host": "qemu2"}
    await run.lifecycle(there, "STARTED_MIGRATED", "RESUMED_MIGRATED")
    await becomes(run, there, RUNNING)
    await run.ok(there, "virDomainDestroy")


def _process_of(guest: Identity) -> int:
    """Return the process of a guest of ours; another run of the tests may have one of this name."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if f"\0-uuid\0{guest['uuid']}\0".encode() in file.read_bytes():
                return int(file.parent.name)
    raise AssertionError(f"{guest} has no process")


RECIPES = (on_the_test_driver, on_qemu, ended_by_the_host, killed, snapshots, migration)
