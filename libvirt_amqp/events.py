"""libvirt's events as data: which there are, under which names, with which fields, and which of these are enums."""

from typing import NamedTuple

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


def event_name(source: Source, constant: str) -> str:
    """Return an event's name on the wire, virsh's: `lifecycle` for VIR_DOMAIN_EVENT_ID_LIFECYCLE."""
    short = constant.removeprefix(source.constants)
    return _VIRSH_NAMES.get(short, short.lower().replace("_", "-"))


def lifecycle_word(source: Source, name: str) -> str:
    """Return the last word of a lifecycle event's key: `started` for VIR_DOMAIN_EVENT_STARTED."""
    return name.removeprefix(source.prefix).lower()


def detail_enums(source: Source, catalogue: Catalogue) -> dict[int, str]:
    """Return the enums of `detail` by `event`: virDomainEventStartedDetailType and its like; only domains have them."""
    by_lower_name = {enum.lower(): enum for enum in catalogue.enums}
    found = {}
    for name, value in catalogue.enums.get(source.lifecycle, {}).items():
        enum = by_lower_name.get(f"virdomainevent{lifecycle_word(source, name)}detailtype")
        if source.cls == "domain" and enum is not None:
            found[value] = enum
    return found
