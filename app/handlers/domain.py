"""Domains: how one is found, and what is special about its functions."""

from typing import Any

import libvirt

from app.handlers.integers import bits
from libvirt_amqp.errors import InvalidParams


def find(connection: libvirt.virConnect, words: tuple[str, ...]) -> libvirt.virDomain:
    """Look a domain up by its uuid (0.12 ms): no handle is kept, so none is stale."""
    return connection.lookupByUUIDString(words[0])


def _send_key(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """The binding wants the number of keycodes beside them."""
    codes = arguments["keycodes"]
    codeset, holdtime = bits("uint32", arguments["codeset"]), bits("uint32", arguments["holdtime"])
    return domain.sendKey(codeset, holdtime, codes, len(codes), arguments.get("flags", 0))


def _set_time(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """The binding takes seconds and nseconds as one dict."""
    moment: Any = {"seconds": arguments["seconds"], "nseconds": arguments["nseconds"]}
    return domain.setTime(moment, arguments.get("flags", 0))


def _get_cpu_stats(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """The binding knows all CPUs or their total: start_cpu -1 is the total in C too; others are cut out here."""
    start, count = arguments["start_cpu"], arguments["ncpus"]
    if start < -1 or (start == -1 and count != 1):
        raise InvalidParams("start_cpu: from -1, and with -1 (the total) an ncpus of 1, is needed")
    if start == -1:
        return domain.getCPUStats(True, arguments.get("flags", 0))  # noqa: FBT003 (the binding's own shape)
    per_cpu: Any = domain.getCPUStats(False, arguments.get("flags", 0))  # noqa: FBT003
    if start >= len(per_cpu):
        raise InvalidParams(f"start_cpu: the last of the host is {len(per_cpu) - 1}")
    return per_cpu[start : start + count]


def _get_disk_errors(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """C's array of structs is a dict in the binding."""
    errors: Any = domain.diskErrors(arguments.get("flags", 0))
    return list(errors.items())


def _interface_addresses(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """C's array of structs is a dict by name in the binding."""
    found: Any = domain.interfaceAddresses(arguments["source"], arguments.get("flags", 0))
    return [{"name": name, "hwaddr": one["hwaddr"], "addrs": one["addrs"] or []} for name, one in found.items()]


def _authorized_ssh_keys_set(domain: libvirt.virDomain, arguments: dict[str, Any]) -> Any:
    """The binding wants a list even where C takes NULL."""
    return domain.authorizedSSHKeysSet(arguments["user"], arguments.get("keys", []), arguments.get("flags", 0))


SPECIAL = {
    "virDomainGetDiskErrors": _get_disk_errors,
    "virDomainInterfaceAddresses": _interface_addresses,
    "virDomainAuthorizedSSHKeysSet": _authorized_ssh_keys_set,
    "virDomainSendKey": _send_key,
    "virDomainSetTime": _set_time,
    "virDomainGetCPUStats": _get_cpu_stats,
}


def _open_console(domain: libvirt.virDomain, stream: libvirt.virStream, arguments: dict[str, Any]) -> Any:
    """The stream stands in the middle of the arguments."""
    name: Any = arguments.get("dev_name")  # the binding's annotation does not know that None is the first one
    domain.openConsole(name, stream, arguments.get("flags", 0))


def _open_channel(domain: libvirt.virDomain, stream: libvirt.virStream, arguments: dict[str, Any]) -> Any:
    name: Any = arguments.get("name")
    domain.openChannel(name, stream, arguments.get("flags", 0))


def _screenshot(domain: libvirt.virDomain, stream: libvirt.virStream, arguments: dict[str, Any]) -> Any:
    """The return value is the MIME type of what the stream brings."""
    return domain.screenshot(stream, arguments["screen"], arguments.get("flags", 0))


STREAMS = {
    "virDomainOpenConsole": _open_console,
    "virDomainOpenChannel": _open_channel,
    "virDomainScreenshot": _screenshot,
}
