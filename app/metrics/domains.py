"""The domains' figures as samples under the names of existing exporters; old figures are marked and not shown."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from app.metrics import names
from app.metrics.families import Families
from app.metrics.last import Published, readable
from app.metrics.names import Figure

UP = Figure("up", "Whether the agent has libvirt, and knows which domains are active; without it none is shown")
COUNT = Figure("domains", "Active domains that answered, or have not in time")
TIMED_OUT = Figure("timed_out", "Whether figures of the domain could not be read in time; then they are left out")


def exporter(up: bool, versions: dict[str, Any], *, tinkoff: bool) -> Iterable[Metric]:  # noqa: FBT001 (its figure)
    """Return what exporters say about themselves."""
    told = Families("libvirt_")
    told.add(UP, up)
    if tinkoff and up:
        labels = {"hypervisor_running": "hypervisor", "libvirtd_running": "libvirt", "libvirt_library": "library"}
        text = "Versions of what runs"
        told.add_info("versions", text, {label: versions.get(name) or "" for label, name in labels.items()})
    return told


def families(infos: Published, stats: Published, *, tinkoff: bool) -> Iterable[Metric]:
    """Return what the last rounds gave, as the exporter of inovex names it, or as Tinkoff's does."""
    of_host, of_domains = Families("libvirt_"), Families("libvirt_domain_")
    active = infos.keys() | stats.keys()
    of_host.add(COUNT, len(active))
    for name in sorted(active):
        told = [data for data in (infos.get(name), stats.get(name)) if data is not None]
        of_domains.add(TIMED_OUT, any(data.get("stale") for data in told), {"domain": name})
    for name, data in infos.items():
        if not data.get("stale"):
            _info(of_domains, name, data, tinkoff=tinkoff)
    for name, data in stats.items():
        if not data.get("stale"):
            _stats(of_domains, name, data.get("stats", {}), tinkoff=tinkoff)
    return [*of_host, *of_domains]


def _info(to: Families, name: str, data: dict[str, Any], *, tinkoff: bool) -> None:
    state, labels = data.get("state"), {"domain": name}
    if tinkoff:
        to.add(names.STATE_TINKOFF, state, labels)
    elif isinstance(state, int):
        words = names.STATES[state] if 0 <= state < len(names.STATES) else ""
        to.add(names.STATE, state, {"domain": name, "state_desc": words})
    for field, figure in names.INFO.items():
        to.add(figure, data.get(field), labels)


def _stats(to: Families, name: str, stats: dict[str, Any], *, tinkoff: bool) -> None:
    labels = {"domain": name}
    devices: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for key, value in stats.items():
        if (figure := names.STATS.get(key)) is not None:
            if tinkoff:
                figure = figure._replace(name=names.TINKOFF.get(figure.name, figure.name))
            to.add(figure, value, labels)
            continue
        group, _, rest = key.partition(".")
        number, _, field = rest.partition(".")
        if group in names.DEVICES and field:
            devices[group, number][field] = value
    available, usable = stats.get("balloon.available"), stats.get("balloon.usable")
    if available and usable is not None:
        to.add(names.USED_PERCENT, (available - usable) / available * 100, labels)
    seen: set[tuple[str, str]] = set()
    for (group, number), fields in devices.items():
        device = number if group == "vcpu" else fields.get("name")
        if not isinstance(device, str):
            continue
        whose = (group, readable(device))
        # The images behind a disk come after it and have its name, too.
        if whose not in seen:
            seen.add(whose)
            _device(to, name, *whose, fields)


def _device(to: Families, name: str, group: str, device: str, fields: dict[str, Any]) -> None:
    """Add a virtual CPU by its number, a disk or an interface by its name."""
    labels = {"domain": name, names.LABELS[group]: device}
    for field, figure in names.DEVICES[group].items():
        to.add(figure, fields.get(field), labels)
    if group == "block":
        path = fields.get("path")
        source = {"source_file": readable(path)} if isinstance(path, str) else {}
        to.add_info("block_stats", "The domain's disks", labels | source)
    elif group == "net":
        to.add_info("interface_stats", "The domain's interfaces", labels)
