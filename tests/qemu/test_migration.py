from typing import Any

import libvirt
import pytest
from conftest import Heard, eventually, hearing
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from qemu.conftest import Qemu, assert_contiguous, define, words_of

FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
)


async def test_a_guest_migrates_to_another_host_over_the_bus(  # noqa: PLR0913
    broker_url: str,
    heard: Heard,
    client: Client,
    qemu_agent: Qemu,
    daemon: PrivateLibvirtd,
    fresh_daemon: PrivateLibvirtd,
) -> None:
    fresh_daemon.start()
    await qemu_agent()
    async with hearing(broker_url, "qemu2.#") as there:
        await qemu_agent("qemu2", uri=fresh_daemon.uri)
        source = await define(client, "traveller")
        target = Address("qemu2", "domain", source.words)
        await client.call(source, "virDomainCreate")
        await client.call(source, "virDomainMigrateToURI3", _plan(daemon, fresh_daemon))
        assert (await client.call(target, "virDomainGetState"))["state"] == libvirt.VIR_DOMAIN_RUNNING
        found = await client.call(Address("any", "connect"), "virDomainLookupByName", {"name": "traveller"})
        assert found["host"] == "qemu2"
        with pytest.raises(errors.LibvirtFailed, match="omain not found"):
            await client.call(source, "virDomainGetState")
        # libvirt announces no "undefined" where a migration undefines the guest.
        await eventually(lambda: "job-completed" in words_of(heard, source))
        await eventually(lambda: "lifecycle.resumed" in words_of(there, target))
        assert _details(heard)[-2:] == ["VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED", "VIR_DOMAIN_EVENT_STOPPED_MIGRATED"]
        assert set(_details(there)) == {
            "VIR_DOMAIN_EVENT_STARTED_MIGRATED",
            "VIR_DOMAIN_EVENT_DEFINED_ADDED",
            "VIR_DOMAIN_EVENT_RESUMED_MIGRATED",
        }
        (job,) = await heard.of_type("domain.job-completed")
        assert job.body["data"]["params"]["operation"] == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        assert_contiguous(heard)
        assert_contiguous(there)


def _plan(source: PrivateLibvirtd, target: PrivateLibvirtd) -> dict[str, Any]:
    """Return the arguments: the two QEMUs meet at a path that both can reach."""
    socket = source.socket.parent / "migration.sock"
    return {"dconnuri": target.uri, "params": {"migrate_uri": f"unix://{socket}"}, "flags": FLAGS}


def _details(heard: Heard) -> list[str]:
    return [m.body["data"]["names"]["detail"] for m in heard if m.body["type"] == "org.libvirt.domain.lifecycle"]
