"""Secrets."""

from sweep.binary import as_bytes, uuid_bytes
from sweep.hosts import Hosts
from sweep.sweep import Sweep

XML = "<secret ephemeral='no' private='no'><usage type='volume'><volume>/no/such.img</volume></usage></secret>"


async def secrets(sweep: Sweep, hosts: Hosts) -> None:
    qemu = hosts.qemu
    secret = await sweep.ok(qemu, "virSecretDefineXML", xml=XML)
    value = as_bytes(b"\0a secret\xff")
    await sweep.ok(secret, "virSecretSetValue", value=value)
    assert await sweep.ok(secret, "virSecretGetValue") == value
    assert await sweep.ok(qemu, "virSecretLookupByUUIDString", uuidstr=secret["uuid"]) == secret
    assert await sweep.ok(qemu, "virSecretLookupByUUID", uuid=uuid_bytes(secret["uuid"])) == secret
    assert await sweep.ok(qemu, "virSecretLookupByUsage", usageType=1, usageID="/no/such.img") == secret
    await sweep.each(qemu, "virConnectListAllSecrets", "virConnectListSecrets", "virConnectNumOfSecrets")
    await sweep.each(
        secret,
        "virSecretGetUUID",
        "virSecretGetUUIDString",
        "virSecretGetUsageID",
        "virSecretGetUsageType",
        "virSecretGetXMLDesc",
        "virSecretUndefine",
    )


RECIPES = (secrets,)
