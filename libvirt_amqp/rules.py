"""What the agent's own rules add to libvirt's: which functions read or set secrets, and which arguments are bounded."""

SECRET_FUNCTIONS = frozenset(
    {
        "virDomainQemuAgentCommand",
        "virDomainQemuMonitorCommand",
        "virDomainSetUserPassword",
        "virSecretGetValue",
        "virSecretSetValue",
    },
)
"""What can read or set a secret whatever its arguments are."""

SECRET_PERMISSION = "read_secure"  # noqa: S105 (libvirt's name of a permission)
"""libvirt's permission for arguments that reveal secrets, as VIR_DOMAIN_XML_SECURE."""

MOST_CELLS, MOST_PEEKED = 1024, 4 * 1024 * 1024
MOST = {
    ("virNodeAllocPages", "cellCount"): MOST_CELLS,
    ("virNodeGetCellsFreeMemory", "maxCells"): MOST_CELLS,
    ("virNodeGetFreePages", "cellCount"): MOST_CELLS,
    ("virDomainBlockPeek", "size"): MOST_PEEKED,
    ("virDomainMemoryPeek", "size"): MOST_PEEKED,
}
"""Arguments by which the binding allocates before it asks libvirt: unbounded, one call takes all the host's memory."""
