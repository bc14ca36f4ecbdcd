import asyncio
from typing import Any

from conftest import eventually
from private_libvirtd import PrivateLibvirtd
from scraped import HOST, Scrape, free_port, scrape

from libvirt_amqp.keys import Address
from qemu.conftest import Qemu, virsh


async def scraped(port: int, fact: Any) -> Scrape:
    """Scrape until `fact` is true of what came."""

    async def look() -> Scrape | None:
        try:
            found = await asyncio.to_thread(scrape, port)
        except ConnectionError:
            return None
        return found if fact(found) else None

    found: Scrape = await eventually(look)
    return found


async def test_without_libvirt_no_domain_is_shown_and_with_it_all_are_again(
    daemon: PrivateLibvirtd,
    qemu_agent: Qemu,
    guest: Address,  # noqa: ARG001 (it has to run)
) -> None:
    port = free_port()
    await qemu_agent(metrics_listen=f"{HOST}:{port}", metrics_domains=True)
    first = await scraped(port, lambda s: s.value("libvirt_domain_info_maximum_memory_bytes", domain="shared"))
    assert first.value("libvirt_domain_info_maximum_memory_bytes", domain="shared") == 16 * 2**20
    daemon.kill()
    lost = await scraped(port, lambda s: s.value("libvirt_up") == 0)
    assert lost.value("libvirt_amqp_libvirt_connected") == 0
    assert not [sample for sample in lost.samples if "domain" in sample.labels]
    daemon.start()
    await scraped(port, lambda s: s.value("libvirt_domain_info_virtual_cpus", domain="shared") == 1)


async def test_a_frozen_libvirtd_delays_no_scrape(
    daemon: PrivateLibvirtd,
    qemu_agent: Qemu,
    guest: Address,  # noqa: ARG001 (it has to run)
) -> None:
    port = free_port()
    await qemu_agent(metrics_listen=f"{HOST}:{port}", metrics_domains=True)
    await scraped(port, lambda s: s.value("libvirt_domain_info_virtual_cpus", domain="shared"))
    daemon.freeze()
    try:
        # Still connected, as keepalive has not noticed, and what was read is too old to be shown.
        found = await scraped(port, lambda s: s.value("libvirt_domain_timed_out", domain="shared") == 1)
        assert found.value("libvirt_domain_info_virtual_cpus", domain="shared") is None
        assert found.value("libvirt_up") == 1
        assert found.value("libvirt_amqp_up") == 1
    finally:
        daemon.thaw()
    await scraped(port, lambda s: s.value("libvirt_domain_info_virtual_cpus", domain="shared"))


async def test_the_figures_are_those_of_libvirt(
    daemon: PrivateLibvirtd,
    qemu_agent: Qemu,
    guest: Address,  # noqa: ARG001 (it has to run)
) -> None:
    port = free_port()
    await qemu_agent(metrics_listen=f"{HOST}:{port}", metrics_domains=True)
    virsh(daemon.uri, "suspend", "shared")
    try:
        state = {"domain": "shared", "state_desc": "the domain is paused by user"}
        found = await scraped(port, lambda s: s.value("libvirt_domain_info_state", **state) == 3)
        told = dict(line.split(":", 1) for line in virsh(daemon.uri, "dominfo", "shared").splitlines() if ":" in line)
        seconds = float(told["CPU time"].strip().removesuffix("s"))
        shown = found.value("libvirt_domain_info_cpu_time_seconds_total", domain="shared")
        assert shown is not None
        assert round(shown, 1) == seconds
    finally:
        virsh(daemon.uri, "resume", "shared")
