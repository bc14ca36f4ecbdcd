"""Write libvirt_amqp/api.json: libvirt's API as data, from libvirt's own description of it and the installed binding.

    scripts/extract_catalogue.py [DIRECTORY]     the directory with libvirt-api.xml (default: /usr/share/libvirt/api)

libvirt-api.xml (Debian: libvirt-dev) gives functions, structs, enums; libvirt.py gives the method behind each function
and which of C's arguments it takes.  permissions.json beside this file has what neither says: libvirt's permissions and
priorities (from the annotations in remote_protocol.x and qemu_protocol.x of libvirt 9.0.0) and which functions refuse a
read-only connection (from virCheckReadOnlyGoto in its public entry points).  Whatever a newer libvirt adds is taken for
a change that needs a read-write connection until somebody has looked.  Review the difference before committing it.
"""

import ast
import json
import re
import sys
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "libvirt_amqp" / "api.json"

CLASSES = {
    "virConnect": "connect",
    "virDomain": "domain",
    "virDomainSnapshot": "domain-snapshot",
    "virDomainCheckpoint": "domain-checkpoint",
    "virNetwork": "network",
    "virNetworkPort": "network-port",
    "virInterface": "interface",
    "virStoragePool": "storage-pool",
    "virStorageVol": "storage-vol",
    "virNodeDevice": "node-device",
    "virNWFilter": "nwfilter",
    "virNWFilterBinding": "nwfilter-binding",
    "virSecret": "secret",
    "virStream": "stream",
}

LEFT_OUT = {
    r"vir(ConnectOpen|ConnectOpenAuth|ConnectOpenReadOnly|ConnectClose)": "the agent's own connection",
    r"virConnect(IsAlive|IsEncrypted|IsSecure)": "says how the agent reaches libvirt; the heartbeat says whether",
    r"virConnectSet(Identity|KeepAlive)": "configures the agent's own connection",
    r"vir\w+(Ref|Free)": "counts the references of a handle in the calling process",
    r"vir\w+(GetConnect|PortGetNetwork|GetDomain)": "the parent of a handle in the calling process: the key names it",
    r"virConnect\w*(EventRegister|EventDeregister)\w*": "becomes a subscription to libvirt.events",
    r"virConnect(Unr|R)egisterCloseCallback": "becomes agent.libvirt-lost on libvirt.events",
    r"virStream(New|Ref|Free|Event\w+|\w*All)": "plumbing of a stream in the calling process",
    r"virTypedParam\w+": "a container in the calling process: a JSON object here",
    r"virDomainMigrate[23]?": "needs a connection to another host as an argument: use virDomainMigrateToURI3",
    r"virDomain(Qemu)?\w+WithFiles|virDomainFDAssociate|virDomainOpenGraphics(FD)?": "passes file descriptors",
    r"virEvent\w+": "the event loop of the calling process",
    r"vir(Conn)?(Copy|Get|Reset|Set|Save|Default|Free)\w*Err\w*": "the calling thread's error: an error reply",
    r"vir(GetVersion|Initialize)": "the library in the calling process",
}
"""What cannot be a message, by name, with the reason."""

METHODS: dict[str, tuple[str, str, list[str]]] = {"virConnectListDomains": ("virConnect", "listDomainsID", [])}
"""Where the method cannot be found by looking for the function that it calls."""

STREAM, NBYTES, OFFSET = ("stream", "string", False), ("nbytes", "uint32", False), ("offset", "uint64", False)
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
    "virStreamRecvHole": [STREAM, ("flags", "uint32", True)],
    "virStreamSend": [STREAM, OFFSET, ("data", "bytes", False)],
    "virStreamSendHole": [STREAM, OFFSET, ("length", "int64", False), ("flags", "uint32", True)],
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
    "virDomainOpenConsole": [("stream", "string")],
    "virDomainOpenChannel": [("stream", "string")],
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
NULLABLE = re.compile(r"\bNULL\b|\boptional\b", re.IGNORECASE)
NUMBERS = {
    "int": "int32",
    "unsigned int": "uint32",
    "long long": "int64",
    "unsigned long": "uint64",
    "unsigned long long": "uint64",
    "size_t": "uint64",
    "unsigned char": "uint8",
    "unsigned short": "uint16",
    "virDomainBlockJobCursor": "uint64",
}
COUNTS = {"ndevAlias", "cpumaplen", "naddrs", "nparams", "nidentity", "value_size"}


class Binding:
    """What libvirt-python offers: C function -> class, method, parameters and how many of them have defaults."""

    def __init__(self) -> None:
        self.methods: dict[str, tuple[str, str, list[str], int]] = {}
        for module in ("libvirt", "libvirt_qemu"):
            spec = find_spec(module)
            if spec is None or spec.origin is None:
                sys.exit(f"the Python binding {module} is not installed")
            for node in ast.parse(Path(spec.origin).read_text()).body:
                if isinstance(node, ast.ClassDef):
                    for method in node.body:
                        self._add(node.name, method)
                else:
                    self._add(module, node)

    def _add(self, owner: str, method: ast.stmt) -> None:
        if not isinstance(method, ast.FunctionDef):
            return
        for call in ast.walk(method):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id.startswith("libvirtmod")
            ):
                names = [argument.arg for argument in method.args.args][1:]
                entry = (owner, method.name, names, len(method.args.defaults))
                self.methods.setdefault(call.func.attr, entry)


class Extractor:
    """One pass over libvirt's description."""

    def __init__(self, directory: Path) -> None:
        self.trees = [ET.parse(directory / name) for name in ("libvirt-api.xml", "libvirt-qemu-api.xml")]
        self.binding = Binding()
        self.permissions = json.loads((HERE / "permissions.json").read_text())
        self.structs: dict[str, list[tuple[str, str]]] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.values: dict[str, int] = {}

    def run(self) -> dict[str, Any]:
        """Return the whole catalogue."""
        for tree in self.trees:
            for struct in tree.iter("struct"):
                self._struct(struct)
            for enum in sorted(tree.iter("enum"), key=lambda e: not e.get("value", "").lstrip("-").isdigit()):
                self._enum(enum)
        functions = {f.get("name", ""): f for tree in self.trees for f in tree.iter("function")}
        described = {name: self._function(functions[name]) for name in sorted(functions)}
        return {
            "functions": described,
            "structs": self._used_structs(json.dumps(described)),
            "enums": {name: self.enums[name] for name in sorted(self.enums)},
        }

    def _used_structs(self, text: str) -> dict[str, Any]:
        """Return the structs that a text names, and those that they name."""
        used: dict[str, Any] = {}
        while new := {n: f for n, f in self.structs.items() if f'struct {n}"' in text and n not in used}:
            used |= new
            text = json.dumps(new)
        return dict(sorted(used.items()))

    def _struct(self, node: ET.Element) -> None:
        fields = [(f.get("name", ""), _field_type(f.get("type", ""))) for f in node.iter("field")]
        self.structs[node.get("name", "")] = [f for f in fields if f[0] not in COUNTS]

    def _enum(self, node: ET.Element) -> None:
        """Note one value; some are the name of another one."""
        name, kind, value = node.get("name", ""), node.get("type", ""), node.get("value", "")
        if re.fullmatch(r"-?\d+", value):
            self.values[name] = int(value)
        elif value in self.values:
            self.values[name] = self.values[value]
        if name in self.values and not name.endswith("_LAST"):
            self.enums.setdefault(kind, {})[name] = self.values[name]

    def _function(self, node: ET.Element) -> dict[str, Any]:
        name = node.get("name", "")
        arguments = node.findall("arg")
        reason = next((why for pattern, why in LEFT_OUT.items() if re.fullmatch(pattern, name)), None)
        receiver = _receiver(arguments)
        entry: dict[str, Any] = {"class": receiver, "since": node.get("version"), "doc": _first_sentence(node)}
        if reason is not None or receiver is None:
            return entry | {"left_out": reason or "not a function of an object"}
        if name not in self.binding.methods and name not in METHODS:
            return entry | {"left_out": "not in libvirt-python"}
        owner, method, names, defaults = (METHODS.get(name) and (*METHODS[name], 0)) or self.binding.methods[name]
        params = PARAMS.get(name) or self._params(name, arguments, names, defaults)
        known = self.permissions.get(name)
        identity = known is None and re.search(
            r"Get(Name|UUID|UUIDString|ID|MACString|Key|Usage\w+|PortDev|FilterName)$", name
        )
        facts = known or {"acl": [], "write": not identity, "high": bool(identity)}
        return entry | {
            "python": f"{owner}.{method}",
            "params": params,
            "outputs": OUTPUTS.get(name) or self._outputs(node, arguments, {p[0] for p in params}),
            **facts,
        }

    def _params(self, name: str, arguments: list[ET.Element], names: list[str], defaults: int) -> list[Any]:
        by_name = {a.get("name", ""): a for a in arguments}
        params: list[tuple[str, str, bool]] = []
        for position, own in enumerate(names):
            if by_name.get(own, ET.Element("none")).get("type") == "virStreamPtr":
                continue  # made by the agent, and given back
            c_name = own if own in by_name else next(n for n in RENAMED[own] if n in by_name)
            has_default = position >= len(names) - defaults
            kind = _input_type(by_name[c_name].get("type", ""))
            may_be_null = kind in {"string", "params", "[]string"} and NULLABLE.search(
                by_name[c_name].get("info") or ""
            )
            optional = bool(c_name == "flags" or has_default or may_be_null or (name, c_name) in MAY_BE_NULL)
            optional = optional and (name, c_name) not in NOT_OPTIONAL
            params.append((c_name, kind, optional))
        if "flags" in by_name and "flags" not in {p[0] for p in params}:
            params.append(("flags", "zero", True))
        return params

    def _outputs(self, node: ET.Element, arguments: list[ET.Element], inputs: set[str]) -> list[tuple[str, str]]:
        outs = []
        for argument in arguments[1:]:
            name, kind = argument.get("name", ""), _output_type(argument.get("type", ""), argument.get("name", ""))
            if kind is not None and name not in inputs and name not in COUNTS:
                outs.append((name, kind))
        if outs:
            return outs
        returned = node.find("return")
        return [("return", _output_type(returned.get("type", "") if returned is not None else "", "return") or "int32")]


def _receiver(arguments: list[ET.Element]) -> str | None:
    if not arguments:
        return None
    kind = arguments[0].get("type", "").replace("const ", "")
    if kind == "virDomainPtr *":
        return "connect"
    return CLASSES.get(kind.removesuffix("Ptr")) if kind.endswith("Ptr") else None


def _input_type(c_type: str) -> str:
    if c_type.removesuffix("Ptr") in CLASSES:
        return CLASSES[c_type.removesuffix("Ptr")]
    return (
        NUMBERS.get(c_type)
        or {
            "const char *": "string",
            "const char **": "[]string",
            "const unsigned char *": "bytes",
            "unsigned char *": "cpumap",
            "unsigned int *": "[]uint32",
            "virTypedParameterPtr": "params",
        }[c_type]
    )


def _output_type(c_type: str, name: str) -> str | None:
    """Return the type of what comes out of an argument (or of the return value); None for what is no output."""
    simple = {
        "char *": "string",
        "const char *": "string" if name == "return" else None,
        "char **": "[]string" if name in {"names", "uuids"} else "string",
        "char ** const": "[]string",
        "char ***": "[]string",
        "int": "int32" if name == "return" else None,
        "unsigned int": "uint32" if name == "return" else None,
        "unsigned long": "uint64" if name == "return" else None,
        "unsigned long long": "uint64" if name == "return" else None,
        "int *": "[]int32" if name == "ids" else "int32",
        "unsigned int *": "uint32",
        "long long *": "int64",
        "unsigned long *": "uint64",
        "unsigned long long *": "[]uint64" if name == "freeMems" else "uint64",
        "unsigned char *": "bytes" if name == "uuid" else "cpumap",
        "unsigned char **": "cpumap",
        "void *": "bytes",
        "virTypedParameterPtr": "params",
        "virTypedParameterPtr *": "params",
        "virNodeCPUStatsPtr": "params",
        "virNodeMemoryStatsPtr": "params",
        "virDomainMemoryStatPtr": "params",
        "virDomainDiskErrorPtr": "[]struct virDomainDiskError",
        "virSecurityLabelPtr *": "[]struct virSecurityLabel",
        "virDomainBlockStatsPtr": "struct virDomainBlockStatsStruct",
        "virDomainInterfaceStatsPtr": "struct virDomainInterfaceStatsStruct",
    }
    if c_type in simple:
        return simple[c_type]
    bare = re.sub(r"Ptr( \*\*)?$", "", c_type)
    many = "[]" if c_type.endswith("Ptr **") else ""
    if bare in CLASSES:
        return many + CLASSES[bare]
    return f"{many}struct {bare}" if c_type.startswith("vir") and "Ptr" in c_type else None


def _field_type(c_type: str) -> str:
    if c_type.endswith("Ptr"):
        inner = c_type.removesuffix("Ptr")
        return CLASSES.get(inner) or ("params" if inner == "virTypedParameter" else f"[]struct {inner}")
    if c_type == "unsigned char *":
        return "cpumap"
    if c_type == "char **":
        return "[]string"
    return NUMBERS.get(c_type, "string")


def _first_sentence(node: ET.Element) -> str:
    text = " ".join((node.findtext("info") or "").split())
    return re.split(r"(?<=[.:])\s", text, maxsplit=1)[0][:200]


def dump(catalogue: dict[str, Any]) -> str:
    """Return JSON with one function, struct or enum a line, so that a difference can be read."""
    parts = []
    for section, rows in catalogue.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        parts.append(f" {json.dumps(section)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/usr/share/libvirt/api")
    TARGET.write_text(dump(Extractor(source).run()))
