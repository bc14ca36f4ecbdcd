import os
import signal
from pathlib import Path

import pytest
from conftest import Heard, eventually
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from qemu.conftest import CONNECT, Qemu, assert_contiguous, create, define, virsh, words_of

TABLET = "<input type='tablet' bus='usb'/>"


async def test_a_guests_life_is_announced_in_libvirts_order(heard: Heard, client: Client, qemu_agent: Qemu) -> None:
    await qemu_agent()
    address = await define(client, "life")
    await client.call(address, "virDomainCreate")
    await client.call(address, "virDomainSuspend")
    await client.call(address, "virDomainResume")
    running = await client.call(CONNECT, "virDomainLookupByName", {"name": "life"})
    await client.call(address, "virDomainDestroy")
    await client.call(address, "virDomainUndefine")
    await eventually(lambda: "lifecycle.undefined" in words_of(heard, address))
    # QEMU's answer to the signal that ends it, "shutdown", may or may not come before its end.
    assert [word for word in words_of(heard, address) if word != "lifecycle.shutdown"] == [
        "lifecycle.defined",
        "lifecycle.resumed",  # libvirt's own order: QEMU is started with its CPUs stopped
        "lifecycle.started",
        "lifecycle.suspended",
        "lifecycle.resumed",
        "lifecycle.stopped",
        "lifecycle.undefined",
    ]
    names = [m.body["data"]["names"]["detail"] for m in await heard.of_type("domain.lifecycle", 7)]
    assert [name for name in names if name != "VIR_DOMAIN_EVENT_SHUTDOWN_HOST"] == [
        "VIR_DOMAIN_EVENT_DEFINED_ADDED",
        "VIR_DOMAIN_EVENT_RESUMED_UNPAUSED",
        "VIR_DOMAIN_EVENT_STARTED_BOOTED",
        "VIR_DOMAIN_EVENT_SUSPENDED_PAUSED",
        "VIR_DOMAIN_EVENT_RESUMED_UNPAUSED",
        "VIR_DOMAIN_EVENT_STOPPED_DESTROYED",
        "VIR_DOMAIN_EVENT_UNDEFINED_REMOVED",
    ]
    defined, started = [(await heard.of_type("domain.lifecycle", event=event))[0] for event in (0, 2)]
    assert running["id"] > 0
    assert started.body["data"]["object"] == running
    assert defined.body["data"]["object"] == {**running, "id": -1}
    assert_contiguous(heard)


async def test_saving_and_restoring_a_guest_is_announced(heard: Heard, client: Client, qemu_agent: Qemu) -> None:
    await qemu_agent()
    address = await define(client, "saved")
    await client.call(address, "virDomainCreate")
    assert await client.call(address, "virDomainManagedSave") == 0
    assert await client.call(address, "virDomainHasManagedSaveImage") == 1
    await client.call(address, "virDomainCreate")
    await eventually(lambda: words_of(heard, address).count("lifecycle.started") == 2)
    details = [m.body["data"]["names"]["detail"] for m in await heard.of_type("domain.lifecycle")]
    assert "VIR_DOMAIN_EVENT_STOPPED_SAVED" in details
    assert "VIR_DOMAIN_EVENT_STARTED_RESTORED" in details
    await client.call(address, "virDomainDestroy")
    await client.call(address, "virDomainUndefine")
    assert_contiguous(heard)


async def test_a_device_that_comes_and_goes_is_announced(
    heard: Heard, client: Client, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    assert await client.call(guest, "virDomainAttachDevice", {"xml": TABLET}) == 0
    added = (await heard.of_type("domain.device-added"))[0]
    alias = added.body["data"]["devAlias"]
    assert f"<alias name='{alias}'/>" in await client.call(guest, "virDomainGetXMLDesc")
    # By its alias: the guest has a PS/2 mouse too.
    assert await client.call(guest, "virDomainDetachDeviceAlias", {"alias": alias}) == 0
    removed = (await heard.of_type("domain.device-removed", devAlias=alias))[0]
    assert removed.key == guest.key("device-removed")
    assert removed.body["previous"] == added.body["sequence"]


async def test_metadata_and_tunables_are_announced(
    heard: Heard, client: Client, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    await client.call(guest, "virDomainSetMetadata", {"type": 1, "metadata": "a title", "flags": 1})
    changed = (await heard.of_type("domain.metadata-change"))[0].body["data"]
    assert (changed["type"], changed["nsuri"]) == (1, None)
    assert changed["names"] == {"type": "VIR_DOMAIN_METADATA_TITLE"}
    await client.call(guest, "virDomainPinVcpu", {"vcpu": 0, "cpumap": [True]})
    tunable = (await heard.of_type("domain.tunable"))[0].body["data"]
    assert tunable["params"] == {"cputune.vcpupin0": "0"}


async def test_what_somebody_else_does_is_announced(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    virsh(daemon.uri, "suspend", "shared")
    virsh(daemon.uri, "resume", "shared")
    await heard.of_type("domain.lifecycle", 2)
    assert words_of(heard, guest) == ["lifecycle.suspended", "lifecycle.resumed"]


async def test_a_guest_whose_qemu_is_killed_is_announced_as_failed(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, tmp_path: Path
) -> None:
    before = daemon.processes()
    uuid = create(daemon.uri, "doomed", tmp_path)
    (process,) = set(daemon.processes()) - set(before)
    await qemu_agent()
    os.kill(process, signal.SIGKILL)
    stopped = (await heard.of_type("domain.lifecycle", event=5))[0]
    assert stopped.key.endswith(f"{uuid}.lifecycle.stopped")
    assert stopped.body["data"]["names"]["detail"] == "VIR_DOMAIN_EVENT_STOPPED_FAILED"


@pytest.mark.parametrize(
    ("cls", "define", "undefine", "xml"),
    [
        ("network", "virNetworkDefineXML", "virNetworkUndefine", "<network><name>other</name></network>"),
        ("secret", "virSecretDefineXML", "virSecretUndefine", "<secret><description>other</description></secret>"),
        (
            "storage-pool",
            "virStoragePoolDefineXML",
            "virStoragePoolUndefine",
            "<pool type='dir'><name>other</name><target><path>/var/empty</path></target></pool>",
        ),
    ],
    ids=["network", "secret", "storage-pool"],
)
async def test_other_objects_of_the_host_are_announced_too(  # noqa: PLR0913
    heard: Heard, client: Client, qemu_agent: Qemu, cls: str, define: str, undefine: str, xml: str
) -> None:
    await qemu_agent()
    address = Address.of(await client.call(CONNECT, define, {"xml": xml}))
    await client.call(address, undefine)
    await heard.of_type(f"{cls}.lifecycle", 2)
    assert words_of(heard, address) == ["lifecycle.defined", "lifecycle.undefined"]
    assert_contiguous(heard)
