"""Write libvirt_amqp/typed_params.json: the type of every typed parameter of libvirt, by its name.

    scripts/extract_typed_params.py [DIRECTORY]     the directory with libvirt-api.xml (default: /usr/share/libvirt/api)

The names stand in the macros of libvirt-api.xml and, for statistics, in the texts of two functions; most say their type
in words.  UNSAID has the rest, read in libvirt's sources.  `*` stands for a number.  Review the difference.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "libvirt_amqp" / "typed_params.json"

WORDS = {
    "unsigned long long": "ULLONG",
    "long long": "LLONG",
    "unsigned int": "UINT",
    "int": "INT",
    "ullong": "ULLONG",
    "llong": "LLONG",
    "uint": "UINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "STRING",
}
_CONSTANT = re.compile(rf"VIR_TYPED_PARAMS?_({'|'.join(sorted(set(WORDS.values())))})\b")
_IN_WORDS = re.compile(rf"\b(?:as|as an?|of type|a) ({'|'.join(WORDS)})\b(?! (?:enum|value))")
_STATISTIC = re.compile(r'"([a-z][\w.<>-]*)"? +- (.*?)(?="[a-z][\w.<>-]*"? +- |VIR_DOMAIN_(?:STATS|GUEST_INFO)|$)')
_FIRST_TYPE = re.compile(rf"\b({'|'.join(WORDS)})\b")

UNSAID = {
    # in: what libvirt's functions take, by their virTypedParamsValidate
    "bandwidth": "ULLONG",
    "compression": "STRING",
    "dxml": "STRING",
    "file": "STRING",
    "listen_address": "STRING",
    "migrate_disks": "STRING",
    "poll_grow": "UINT",
    "poll_max_ns": "ULLONG",
    "poll_shrink": "UINT",
    # in and out
    "shm_full_scans": "ULLONG",
    "shm_merge_across_nodes": "UINT",
    "shm_pages_shared": "ULLONG",
    "shm_pages_sharing": "ULLONG",
    "shm_pages_to_scan": "UINT",
    "shm_pages_unshared": "ULLONG",
    "shm_pages_volatile": "ULLONG",
    "shm_sleep_millisecs": "UINT",
    # out
    "cbitpos": "UINT",
    "errmsg": "STRING",
    "reduced-phys-bits": "UINT",
    "cpu.cache.monitor.*.bank.*.bytes": "ULLONG",
    "cpu.cache.monitor.*.bank.*.id": "UINT",
    "disk.*.partition": "BOOLEAN",
    "fs.*.total-bytes": "ULLONG",
    "fs.*.used-bytes": "ULLONG",
    "if.*.addr.*.prefix": "UINT",
    "memory.bandwidth.monitor.*.node.*.bytes.local": "ULLONG",
    "memory.bandwidth.monitor.*.node.*.bytes.total": "ULLONG",
    "memory.bandwidth.monitor.*.node.*.id": "UINT",
    "block.*.threshold": "ULLONG",
    "vcpu.*.delay": "ULLONG",
    "vcpu.*.halted": "BOOLEAN",
    "vcpu.*.wait": "ULLONG",
}
"""What the description leaves out."""

NO_TYPED_PARAMETERS = "VIR_NODE_CPU_STATS_", "VIR_NODE_MEMORY_STATS_"
"""Names in structs of their own, whose values are always unsigned long long."""


def extract(directory: Path) -> dict[str, str]:
    """Return name -> type."""
    tree = ET.parse(directory / "libvirt-api.xml")
    types: dict[str, str] = {}
    for macro in tree.iter("macro"):
        name, text = macro.get("string"), " ".join((macro.findtext("info") or "").split())
        if name is not None and not macro.get("name", "").startswith(NO_TYPED_PARAMETERS):
            _note(types, name.replace("%u", "*"), _type_of_macro(macro.get("name", ""), name, text))
    for function in tree.iter("function"):
        if function.get("name") in {"virConnectGetAllDomainStats", "virDomainGetGuestInfo"}:
            text = " ".join((function.findtext("info") or "").split())
            for name, meaning in _STATISTIC.findall(text):
                pattern = re.sub(r"<\w+>", "*", name)
                _note(types, pattern, _type_of_statistic(pattern, meaning))
    for name, kind in UNSAID.items():
        _note(types, name, kind)
    return dict(sorted(types.items()))


def _note(types: dict[str, str], name: str, kind: str | None) -> None:
    if kind is not None and types.setdefault(name, kind) != kind:
        sys.exit(f"{name} is {types[name]} and {kind}: types are no longer a matter of the name alone")


def _type_of_macro(constant: str, name: str, text: str) -> str | None:
    if constant.startswith("VIR_PERF_PARAM_"):
        return "BOOLEAN"
    found = _CONSTANT.findall(text) or [WORDS[words] for words in _IN_WORDS.findall(text)]
    if not found and name not in UNSAID:
        print(f"{constant} ({name}) does not say its type: read it in libvirt's sources", file=sys.stderr)
    return found[0] if found else None


def _type_of_statistic(name: str, text: str) -> str | None:
    if name.endswith(".count"):
        return "UINT"
    found = _FIRST_TYPE.search(text)
    if found is not None:
        return WORDS[found[1]]
    return None if name in UNSAID else "STRING"


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/usr/share/libvirt/api")
    TARGET.write_text(json.dumps(extract(source), indent=1) + "\n")
