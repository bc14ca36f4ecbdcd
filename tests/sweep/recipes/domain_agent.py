"""Domains: what a guest's agent answers, and a guest that goes to sleep."""

from guests import agent as guest_agent
from guests.boot import BootSector

from sweep.guests import PMSUSPENDED, RUNNING, becomes, boot_disk, disk_xml, guest_xml, says, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

SLOT = 0x10
CHANNEL_XML = f"""<controller type='virtio-serial' index='0'>
    <address type='pci' domain='0' bus='0' slot='{SLOT}' function='0'/></controller>
  <channel type='unix'><source mode='connect' path='{{}}'/>
    <target type='virtio' name='org.qemu.guest_agent.0'/>
    <address type='virtio-serial' controller='0' bus='0' port='1'/></channel>
  <interface type='user'><mac address='52:54:00:00:00:aa'/></interface>"""
PM_XML = "<pm><suspend-to-mem enabled='yes'/></pm>"
FROM_AGENT = 1
"""VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT."""
OF_GUEST = 8
"""VIR_DOMAIN_VCPU_GUEST."""


async def agent(sweep: Sweep, hosts: Hosts) -> None:
    socket = hosts.folder / "agent.sock"
    sector = BootSector().open_serial_port(SLOT).wait_for_key().suspend()
    path = boot_disk(hosts, "agent.img", sector.image())
    async with guest_agent.listening(socket):
        xml = guest_xml("with an agent", disk_xml(path, kind="raw") + CHANNEL_XML.format(socket), PM_XML)
        domain = await started(sweep, hosts, xml)
        await says(sweep, domain, "state='connected'")
        await sweep.each(
            domain,
            "virDomainGetTime",
            "virDomainGetGuestInfo",
            "virDomainGetFSInfo",
            "virDomainFSFreeze",
            "virDomainFSThaw",
            "virDomainGetGuestVcpus",
        )
        await sweep.ok(domain, "virDomainAgentSetResponseTimeout", timeout=10)
        await sweep.ok(domain, "virDomainGetHostname", flags=2)
        await sweep.ok(domain, "virDomainSetTime", seconds=5, nseconds=7)
        await sweep.ok(domain, "virDomainFSTrim", minimum=0)
        await sweep.ok(domain, "virDomainSetUserPassword", user="root", password="x")
        await sweep.ok(domain, "virDomainAuthorizedSSHKeysGet", user="root")
        await sweep.ok(domain, "virDomainAuthorizedSSHKeysSet", user="root", keys=["ssh-rsa BBB"])
        addresses = await sweep.ok(domain, "virDomainInterfaceAddresses", source=FROM_AGENT)
        assert addresses[0]["addrs"][0]["addr"] == "192.0.2.7"
        await sweep.ok(domain, "virDomainSetGuestVcpus", cpumap="1", state=1)
        await sweep.ok(domain, "virDomainGetVcpusFlags", flags=OF_GUEST)
        await sweep.ok(domain, "virDomainQemuAgentCommand", cmd='{"execute": "guest-ping"}', timeout=5, flags=0)
        await sweep.ok(domain, "virDomainPMSuspendForDuration", target=0, duration=0)
        await sweep.ok(domain, "virDomainSendKey", codeset=0, holdtime=50, keycodes=[28])
        await becomes(sweep, domain, PMSUSPENDED)
        await sweep.ok(domain, "virDomainPMWakeup")
        await becomes(sweep, domain, RUNNING)
        await sweep.ok(domain, "virDomainDestroy")


RECIPES = (agent,)
