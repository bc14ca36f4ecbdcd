"""What libvirt's description and its binding do not say of a function, looked up by a person; extraction reads it."""

LEFT_OUT = {
    r"vir(ConnectOpen|ConnectOpenAuth|ConnectOpenReadOnly|ConnectClose)": "the agent's own connection",
    r"virConnect(IsAlive|IsEncrypted|IsSecure)": "says how the agent reaches libvirt; the heartbeat says whether",
    r"virConnectSet(Identity|KeepAlive)": "configures the agent's own connection",
    r"virStream(New|Ref|Free|Event\w+|\w*All)": "plumbing of a stream in the calling process",
    r"virTypedParam\w+": "a container in the calling process: a JSON object here",
    r"vir(Domain(FSInfo|IOThreadInfo|Interface|StatsRecordList)|NetworkDHCPLease)Free": "frees a result in the memory "
    "of the calling process",
    r"vir(Conn)?(Copy|Get|Reset|Set|Save|Default|Free)\w*Err\w*": "the calling thread's error: an error reply",
    r"vir\w+(Ref|Free)": "counts the references of a handle in the calling process",
    r"vir\w+(GetConnect|PortGetNetwork|GetDomain)": "the parent of a handle in the calling process: the key names it",
    r"virConnect\w*(EventRegister|EventDeregister)\w*": "becomes a subscription to libvirt.events",
    r"virConnect(Unr|R)egisterCloseCallback": "becomes agent.libvirt-lost on libvirt.events",
    r"virDomainMigrate[23]?": "takes a connection to another host; libvirt's own form without one is "
    "virDomainMigrateToURI3 with VIR_MIGRATE_PEER2PEER",
    r"virDomain(Qemu)?\w+WithFiles|virDomainFDAssociate|virDomainOpenGraphics(FD)?": "passes file descriptors",
    r"virEvent\w+": "the event loop of the calling process",
    r"vir(GetVersion|Initialize)": "the library in the calling process",
}
"""What cannot be a message, by name, with the reason; the first that fits."""

LXC = {
    "virDomainLxcEnterCGroup": "moves the calling process into a guest",
    "virDomainLxcEnterNamespace": "moves the calling process into a guest",
    "virDomainLxcEnterSecurityLabel": "changes the security label of the calling process",
    "virDomainLxcOpenNamespace": "passes file descriptors",
}
"""Why nothing of libvirt-lxc is in the catalogue: all of it, and the reasons."""

_PEER_TO_PEER = {"use": "virDomainMigrateToURI3", "add_flags": ["VIR_MIGRATE_PEER2PEER"]}
_MIGRATE = {
    "dconn": "dconnuri",
    "flags": "flags",
    "dname": "params.destination_name",
    "uri": "params.migrate_uri",
    "bandwidth": "params.bandwidth",
}
INSTEAD: dict[str, dict[str, object]] = {
    "virDomainMigrate": _PEER_TO_PEER | {"arguments": _MIGRATE},
    "virDomainMigrate2": _PEER_TO_PEER | {"arguments": _MIGRATE | {"dxml": "params.destination_xml"}},
    "virDomainMigrate3": _PEER_TO_PEER | {"arguments": {"dconn": "dconnuri", "params": "params", "flags": "flags"}},
    "virDomainCreateWithFiles": {"use": "virDomainCreateWithFlags"},
    "virDomainCreateXMLWithFiles": {"use": "virDomainCreateXML"},
    "virDomainQemuMonitorCommandWithFiles": {"use": "virDomainQemuMonitorCommand"},
}
"""What does the same by a message, for what is left out: which function, and which of its arguments is which."""

METHODS: dict[str, tuple[str, str, list[str], int]] = {"virConnectListDomains": ("virConnect", "listDomainsID", [], 0)}
"""Where the method cannot be found by looking for the function that it calls."""

STREAM, NBYTES, OFFSET = ("stream", "string", False), ("nbytes", "uint32", False), ("offset", "uint64", False)
"""An open stream has a name over the bus; `offset` is ours, so that a piece that was lost is noticed."""

PARAMS: dict[str, list[tuple[str, str, bool]]] = {
    "virDomainRevertToSnapshot": [("flags", "uint32", True)],
    "virDomainSetTime": [("seconds", "int64", False), ("nseconds", "uint32", False), ("flags", "uint32", True)],
    "virDomainSendKey": [
        ("codeset", "uint32", False),
        ("holdtime", "uint32", False),
        ("keycodes", "[]uint32", False),
        ("flags", "uint32", True),
    ],
    "virDomainGetCPUStats": [("start_cpu", "int32", False), ("ncpus", "uint32", False), ("flags", "uint32", True)],
    "virNodeAllocPages": [
        ("pageSizes", "[]uint32", False),
        ("pageCounts", "[]uint64", False),
        ("startCell", "int32", False),
        ("cellCount", "uint32", False),
        ("flags", "uint32", True),
    ],
    "virDomainListGetStats": [
        ("doms", "[]domain", False),
        ("stats", "uint32", True),
        ("flags", "uint32", True),
    ],
    "virStreamRecv": [STREAM, NBYTES],
    "virStreamRecvFlags": [STREAM, NBYTES, ("flags", "uint32", True)],
    "virStreamRecvHole": [STREAM, ("flags", "zero", True)],
    "virStreamSend": [STREAM, OFFSET, ("data", "bytes", False)],
    "virStreamSendHole": [STREAM, OFFSET, ("length", "int64", False), ("flags", "zero", True)],
    "virStreamFinish": [STREAM],
    "virStreamAbort": [STREAM],
}
"""Where the binding's arguments have another shape than C's; the room of the class makes the call."""

RENAMED = {"path": ("disk", "device"), "iothread_val": ("iothread_id",), "frm": ("from",), "maxCells": ("cellCount",)}
"""What the binding calls otherwise than C."""

OUTPUTS = {
    "virDomainGetSchedulerType": [("return", "string"), ("nparams", "int32")],
    "virNodeGetCPUMap": [("return", "int32"), ("cpumap", "cpumap"), ("online", "uint32")],
    "virNodeGetFreePages": [("counts", "free-pages")],
    "virDomainGetID": [("return", "int32")],
    "virDomainGetCPUStats": [("params", "[]params")],
    "virDomainGetVcpuPinInfo": [("cpumaps", "[]cpumap")],
    "virDomainGetVcpus": [("info", "[]struct virVcpuInfo"), ("cpumaps", "[]cpumap")],
    "virSecretGetValue": [("return", "bytes")],
    "virDomainOpenConsole": [("st", "string")],
    "virDomainOpenChannel": [("st", "string")],
    "virDomainScreenshot": [("return", "string"), ("stream", "string")],
    "virStorageVolDownload": [("stream", "string")],
    "virStorageVolUpload": [("stream", "string")],
    "virStreamRecv": [("return", "int32"), ("offset", "uint64"), ("data", "bytes")],
    "virStreamRecvFlags": [("return", "int32"), ("offset", "uint64"), ("data", "bytes")],
    "virStreamRecvHole": [("length", "int64")],
    "virStreamSend": [("return", "int32")],
    "virStreamSendHole": [("return", "int32")],
}
"""Where C's types alone do not say what comes out."""

HOST_CPU = ("emulator", "arch", "machine", "virttype")
NOT_OPTIONAL = {
    ("virDomainSaveImageDefineXML", "dxml"),
    ("virDomainManagedSaveDefineXML", "dxml"),
    ("virDomainRename", "new_name"),
    ("virInterfaceLookupByMACString", "macstr"),
}
"""What the search below would take for nullable."""
MAY_BE_NULL = {
    *((f"virConnect{verb}HypervisorCPU", arg) for verb in ("Compare", "Baseline") for arg in HOST_CPU),
    ("virConnectFindStoragePoolSources", "srcSpec"),
    ("virConnectGetMaxVcpus", "type"),
    ("virDomainFSTrim", "mountPoint"),
    ("virDomainGetMetadata", "uri"),
    ("virDomainSetMetadata", "metadata"),
    ("virNodeListDevices", "cap"),
    ("virNodeNumOfDevices", "cap"),
}
"""What libvirt takes NULL for without saying so beside the argument (its description or source does)."""
