"""Snapshots and checkpoints of domains."""

from sweep.hosts import Hosts
from sweep.sweep import Sweep

SNAPSHOTS_TOO = 2
"""VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA."""
XML = "<domain{0}><name>{1}</name></domain{0}>"


async def snapshots(sweep: Sweep, hosts: Hosts) -> None:
    domain = await sweep.ok(hosts.test, "virDomainDefineXML", xml=DOMAIN_XML.format("with snapshots"))
    parent = await sweep.ok(domain, "virDomainSnapshotCreateXML", xmlDesc=XML.format("snapshot", "one"))
    child = await sweep.ok(domain, "virDomainSnapshotCreateXML", xmlDesc=XML.format("snapshot", "two"))
    assert child["domain"] == domain
    assert await sweep.ok(domain, "virDomainSnapshotLookupByName", name="two") == child
    assert await sweep.ok(domain, "virDomainSnapshotCurrent") == child
    assert await sweep.ok(child, "virDomainSnapshotGetParent") == parent
    assert await sweep.ok(parent, "virDomainSnapshotListAllChildren") == [child]
    await sweep.each(
        domain,
        "virDomainHasCurrentSnapshot",
        "virDomainListAllSnapshots",
        "virDomainSnapshotListNames",
        "virDomainSnapshotNum",
    )
    await sweep.each(
        parent,
        "virDomainSnapshotGetName",
        "virDomainSnapshotGetXMLDesc",
        "virDomainSnapshotHasMetadata",
        "virDomainSnapshotIsCurrent",
        "virDomainSnapshotListChildrenNames",
        "virDomainSnapshotNumChildren",
        "virDomainRevertToSnapshot",
        "virDomainSnapshotDelete",
    )
    await sweep.ok(domain, "virDomainUndefineFlags", flags=SNAPSHOTS_TOO)


async def checkpoints(sweep: Sweep, hosts: Hosts) -> None:
    domain = await sweep.ok(hosts.test, "virDomainCreateXML", xmlDesc=DOMAIN_XML.format("with checkpoints"))
    parent = await sweep.ok(domain, "virDomainCheckpointCreateXML", xmlDesc=XML.format("checkpoint", "one"))
    child = await sweep.ok(domain, "virDomainCheckpointCreateXML", xmlDesc=XML.format("checkpoint", "two"))
    assert child["domain"] == domain
    assert await sweep.ok(domain, "virDomainCheckpointLookupByName", name="two") == child
    assert await sweep.ok(child, "virDomainCheckpointGetParent") == parent
    assert await sweep.ok(parent, "virDomainCheckpointListAllChildren") == [child]
    await sweep.ok(domain, "virDomainListAllCheckpoints")
    await sweep.each(child, "virDomainCheckpointGetName", "virDomainCheckpointGetXMLDesc", "virDomainCheckpointDelete")
    await sweep.ok(domain, "virDomainDestroy")


DOMAIN_XML = """<domain type='test'><name>{}</name><memory>8192</memory><os><type>hvm</type></os>
  <devices><disk type='file' device='disk'><driver type='qcow2'/><source file='/d.qcow2'/><target dev='vda'/></disk>
  </devices></domain>"""

RECIPES = (snapshots, checkpoints)
