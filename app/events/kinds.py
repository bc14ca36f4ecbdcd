"""The catalogue of events: every id that the installed binding knows, under virsh's name, with C's field names."""

from typing import Any, NamedTuple

import libvirt

from libvirt_amqp.catalogue import Catalogue


class Source(NamedTuple):
    """A class of objects that has events, and how the binding registers for them."""

    cls: str
    constants: str
    """The prefix of the ids' constants."""
    lifecycle: str
    """The C enum of a lifecycle event, and the prefix of its constants."""
    prefix: str
    register: str
    deregister: str


SOURCES = (
    Source(
        "domain",
        "VIR_DOMAIN_EVENT_ID_",
        "virDomainEventType",
        "VIR_DOMAIN_EVENT_",
        "domainEventRegisterAny",
        "domainEventDeregisterAny",
    ),
    Source(
        "network",
        "VIR_NETWORK_EVENT_ID_",
        "virNetworkEventLifecycleType",
        "VIR_NETWORK_EVENT_",
        "networkEventRegisterAny",
        "networkEventDeregisterAny",
    ),
    Source(
        "storage-pool",
        "VIR_STORAGE_POOL_EVENT_ID_",
        "virStoragePoolEventLifecycleType",
        "VIR_STORAGE_POOL_EVENT_",
        "storagePoolEventRegisterAny",
        "storagePoolEventDeregisterAny",
    ),
    Source(
        "node-device",
        "VIR_NODE_DEVICE_EVENT_ID_",
        "virNodeDeviceEventLifecycleType",
        "VIR_NODE_DEVICE_EVENT_",
        "nodeDeviceEventRegisterAny",
        "nodeDeviceEventDeregisterAny",
    ),
    Source(
        "secret",
        "VIR_SECRET_EVENT_ID_",
        "virSecretEventLifecycleType",
        "VIR_SECRET_EVENT_",
        "secretEventRegisterAny",
        "secretEventDeregisterAny",
    ),
)

FIELDS: dict[str, tuple[str, ...]] = {
    "VIR_DOMAIN_EVENT_ID_LIFECYCLE": ("event", "detail"),
    "VIR_DOMAIN_EVENT_ID_REBOOT": (),
    "VIR_DOMAIN_EVENT_ID_RTC_CHANGE": ("utcoffset",),
    "VIR_DOMAIN_EVENT_ID_WATCHDOG": ("action",),
    "VIR_DOMAIN_EVENT_ID_IO_ERROR": ("srcPath", "devAlias", "action"),
    "VIR_DOMAIN_EVENT_ID_GRAPHICS": ("phase", "local", "remote", "authScheme", "subject"),
    "VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON": ("srcPath", "devAlias", "action", "reason"),
    "VIR_DOMAIN_EVENT_ID_CONTROL_ERROR": (),
    "VIR_DOMAIN_EVENT_ID_BLOCK_JOB": ("disk", "type", "status"),
    "VIR_DOMAIN_EVENT_ID_DISK_CHANGE": ("oldSrcPath", "newSrcPath", "devAlias", "reason"),
    "VIR_DOMAIN_EVENT_ID_TRAY_CHANGE": ("devAlias", "reason"),
    "VIR_DOMAIN_EVENT_ID_PMWAKEUP": ("reason",),
    "VIR_DOMAIN_EVENT_ID_PMSUSPEND": ("reason",),
    "VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE": ("actual",),
    "VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK": ("reason",),
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED": ("devAlias",),
    "VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2": ("disk", "type", "status"),
    "VIR_DOMAIN_EVENT_ID_TUNABLE": ("params",),
    "VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE": ("state", "reason"),
    "VIR_DOMAIN_EVENT_ID_DEVICE_ADDED": ("devAlias",),
    "VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION": ("iteration",),
    "VIR_DOMAIN_EVENT_ID_JOB_COMPLETED": ("params",),
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED": ("devAlias",),
    "VIR_DOMAIN_EVENT_ID_METADATA_CHANGE": ("type", "nsuri"),
    "VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD": ("dev", "path", "threshold", "excess"),
    "VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE": ("recipient", "action", "flags"),
    "VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE": ("alias", "size"),
    "VIR_NETWORK_EVENT_ID_LIFECYCLE": ("event", "detail"),
    "VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE": ("event", "detail"),
    "VIR_STORAGE_POOL_EVENT_ID_REFRESH": (),
    "VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE": ("event", "detail"),
    "VIR_NODE_DEVICE_EVENT_ID_UPDATE": (),
    "VIR_SECRET_EVENT_ID_LIFECYCLE": ("event", "detail"),
    "VIR_SECRET_EVENT_ID_VALUE_CHANGED": (),
}
"""Id -> the C names of what its callback gets between the object and the opaque pointer (counts left out)."""

ENUMS: dict[tuple[str, str], str] = {
    ("watchdog", "action"): "virDomainEventWatchdogAction",
    ("io-error", "action"): "virDomainEventIOErrorAction",
    ("io-error-reason", "action"): "virDomainEventIOErrorAction",
    ("graphics", "phase"): "virDomainEventGraphicsPhase",
    ("block-job", "type"): "virDomainBlockJobType",
    ("block-job", "status"): "virConnectDomainEventBlockJobStatus",
    ("block-job-2", "type"): "virDomainBlockJobType",
    ("block-job-2", "status"): "virConnectDomainEventBlockJobStatus",
    ("disk-change", "reason"): "virConnectDomainEventDiskChangeReason",
    ("tray-change", "reason"): "virDomainEventTrayChangeReason",
    ("agent-lifecycle", "state"): "virConnectDomainEventAgentLifecycleState",
    ("agent-lifecycle", "reason"): "virConnectDomainEventAgentLifecycleReason",
    ("metadata-change", "type"): "virDomainMetadataType",
    ("memory-failure", "recipient"): "virDomainMemoryFailureRecipientType",
    ("memory-failure", "action"): "virDomainMemoryFailureActionType",
    ("memory-failure", "flags"): "virDomainMemoryFailureFlags",
}
"""Event and field -> the C enum of its values; those of lifecycle events follow from the event."""

_VIRSH_NAMES = {"PMWAKEUP": "pm-wakeup", "PMSUSPEND": "pm-suspend", "PMSUSPEND_DISK": "pm-suspend-disk"}


class Kind:
    """One event id: its name on the wire, its fields, and the names of its enums' values."""

    def __init__(self, source: Source, constant: str, catalogue: Catalogue) -> None:
        self.source = source
        self.id: int = getattr(libvirt, constant)
        short = constant.removeprefix(source.constants)
        self.name = _VIRSH_NAMES.get(short, short.lower().replace("_", "-"))
        self.type = f"{source.cls}.{self.name}"
        self._fields = FIELDS.get(constant)
        self._names = {f: catalogue.names(ENUMS[self.name, f]) for f in self._fields or () if (self.name, f) in ENUMS}
        self._lifecycle = catalogue.names(source.lifecycle) if self.name == "lifecycle" else None
        self._details = _detail_names(source, catalogue) if self.name == "lifecycle" else {}

    def data(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the fields under their C names, and the names of those that are enums.

        Fields that a newer libvirt added come as `arg0`, `arg1`, ... behind the ones that are known.
        """
        known = self._fields or ()
        fields = (*known, *(f"arg{i}" for i in range(len(values) - len(known))))
        data = {field: _plain(value) for field, value in zip(fields, values, strict=False)}
        if self._lifecycle is not None:
            detail = self._details.get(data["event"], {}).get(data["detail"])
            return data | {"names": {"event": self._lifecycle.get(data["event"]), "detail": detail}}
        names = {field: of_enum.get(data[field]) for field, of_enum in self._names.items() if field in data}
        return data | {"names": names}

    def words(self, values: tuple[Any, ...]) -> tuple[str, ...]:
        """Return the last word, or two words for a lifecycle event, of the routing key."""
        if self._lifecycle is None:
            return (self.name,)
        name = self._lifecycle.get(values[0])
        word = name.removeprefix(self.source.prefix).lower() if name else str(values[0])
        return (self.name, word)


def kinds(catalogue: Catalogue) -> list[Kind]:
    """Return every event id that the installed binding has, those among them that nobody here has heard of."""
    return [
        Kind(source, constant, catalogue)
        for source in SOURCES
        for constant in sorted(vars(libvirt))
        if constant.startswith(source.constants) and not constant.endswith("_LAST")
    ]


def _detail_names(source: Source, catalogue: Catalogue) -> dict[int, dict[int, str]]:
    """Return the enums of `detail` by `event`: virDomainEventStartedDetailType and its like; only domains have them."""
    by_lower_name = {enum.lower(): enum for enum in catalogue.enums}
    details = {}
    for name, value in catalogue.enums.get(source.lifecycle, {}).items():
        word = name.removeprefix(source.prefix).lower()
        enum = by_lower_name.get(f"virdomainevent{word}detailtype") if source.cls == "domain" else None
        details[value] = catalogue.names(enum) if enum else {}
    return details


def _plain(value: Any) -> Any:
    """Return what the binding gives as JSON: the subject of a graphics event is a list of (type, name)."""
    if isinstance(value, list | tuple):
        return [dict(zip(("type", "name"), item, strict=False)) if isinstance(item, tuple) else item for item in value]
    return value
