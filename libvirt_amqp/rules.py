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
BOUNDS = {
    ("virNodeAllocPages", "cellCount"): (0, MOST_CELLS),
    ("virNodeGetFreePages", "cellCount"): (0, MOST_CELLS),
    ("virDomainBlockPeek", "size"): (0, MOST_PEEKED),
    ("virDomainMemoryPeek", "size"): (0, MOST_PEEKED),
    # Beyond these the binding fails without an error of libvirt's.
    ("virNodeGetCellsFreeMemory", "maxCells"): (1, MOST_CELLS),
    ("virNodeGetCellsFreeMemory", "startCell"): (0, 10_000 - MOST_CELLS),
    # The binding passes 0 whatever the caller says, and libvirt knows no flag of it.
    ("virDomainGetDiskErrors", "flags"): (0, 0),
    ("virStreamRecvFlags", "flags"): (0, 1),
    ("virStreamRecv", "nbytes"): (1, 2**32 - 1),
    ("virStreamRecvFlags", "nbytes"): (1, 2**32 - 1),
    ("virStreamSendHole", "length"): (1, 2**63 - 1),
}
"""Tighter than C's types, mostly because memory is taken before libvirt is asked: one call could take all there is."""

LENGTHS = {
    ("virDomainSendKey", "keycodes"): (1, 16),  # VIR_DOMAIN_SEND_KEY_MAX_KEYS, which the binding has not
    ("virNodeGetFreePages", "pages"): (1, MOST_CELLS),
    ("virNodeAllocPages", "pageSizes"): (1, MOST_CELLS),
}
"""How many items an array may have, for the same reasons."""

MAY_BE_BYTES = frozenset(
    {"virStorageVolGetKey", "virStorageVolGetName", "virStorageVolGetPath", "virStorageVolGetXMLDesc"},
)
"""Whose text has the name of a file, which may be no UTF-8: bytes then."""
