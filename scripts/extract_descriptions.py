"""Write libvirt_amqp/descriptions.json: what libvirt says about the functions of api.json, and which enum a number is.

    scripts/extract_descriptions.py [DIRECTORY]   the directory with libvirt-api.xml (default: /usr/share/libvirt/api)

Runs after extract_catalogue.py.  libvirt names the enum of a number in the text beside it ("bitwise-OR of
virDomainXMLFlags"); where it does not, enums.json beside this file does.  That table was reviewed against the sources
of libvirt 9.0.0: `flags_without_bits` against virCheckFlags() in every driver, `nullable` against remote_string in
remote_protocol.x; `texts` are units and fields that the description leaves out or blurs.  Only the contract
(libvirt_amqp/schema) reads the result, when somebody asks for it.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from extraction.extractor import dump

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "libvirt_amqp" / "descriptions.json"

NUMBER = re.compile(r"(\[\])?(u?int\d+|zero)")
C_NAME = re.compile(r"vir[A-Z]\w+")


class Describer:
    """One pass over libvirt's description, for the functions, structs and enums of the catalogue."""

    def __init__(self, directory: Path, api: dict[str, Any]) -> None:
        self.trees = [ET.parse(directory / name) for name in ("libvirt-api.xml", "libvirt-qemu-api.xml")]
        self.api = api
        self.table = json.loads((HERE / "enums.json").read_text())
        self.without_bits = {f"{name}.flags" for name in self.table["flags_without_bits"]}
        self.groups = {name: group for group, names in self.table["params"].items() for name in names}
        self.bits: set[str] = set()

    def run(self) -> dict[str, Any]:
        """Return all descriptions."""
        served = {name: row for name, row in self.api["functions"].items() if "left_out" not in row}
        nodes = {node.get("name", ""): node for node in self._all("function")}
        structs = {node.get("name", ""): node for node in self._all("struct")}
        functions = {name: self._function(name, row, nodes[name]) for name, row in served.items()}
        return {
            "functions": functions,
            "structs": {name: self._struct(name, structs[name]) for name in self.api["structs"]},
            "enums": self._enums(),
            "params": {group: self._params(group) for group in self.table["params"]},
        }

    def _all(self, kind: str) -> Iterator[ET.Element]:
        for tree in self.trees:
            yield from tree.iter(kind)

    def _function(self, name: str, row: dict[str, Any], node: ET.Element) -> dict[str, Any]:
        texts = {a.get("name", ""): _line(a.get("info")) for a in node.findall("arg")}
        returned = node.find("return")
        texts["return"] = _line(returned.get("info") if returned is not None else "")
        kinds = {n: kind for n, kind, *_ in (*row["params"], *row["outputs"])}
        text = _paragraphs(node.findtext("info"))
        entry: dict[str, Any] = {"file": node.get("file"), "text": text, "texts": {n: texts.get(n, "") for n in kinds}}
        entry["texts"]["return"] = texts["return"]
        entry["texts"] |= {n: t for n in kinds if (t := self.table["texts"].get(f"{name}.{n}"))}
        enums = {n: self._enum_of(f"{name}.{n}", kind, texts.get(n, "")) for n, kind in kinds.items()}
        entry["enums"] = {n: found for n, found in enums.items() if found is not None}
        if text.startswith("Deprecated"):
            entry["deprecated"] = True
        if name in self.groups:
            entry["params"] = self.groups[name]
        return entry | self._notes(name)

    def _struct(self, name: str, node: ET.Element) -> dict[str, Any]:
        told = {f.get("name", ""): _line(f.get("info")) for f in node.iter("field")}
        fields = dict(self.api["structs"][name])
        texts = {f: self.table["texts"].get(f"{name}.{f}", told[f]) for f in fields}
        enums = {f: self._enum_of(f"{name}.{f}", kind, told[f]) for f, kind in fields.items()}
        entry = {"since": node.get("version"), "texts": texts}
        entry["enums"] = {f: found for f, found in enums.items() if found is not None}
        return entry | self._notes(name)

    def _notes(self, name: str) -> dict[str, Any]:
        """Return what the table says about one function or struct besides enums."""
        notes: dict[str, Any] = {}
        for kind in ("nullable", "may_be_empty"):
            if members := [entry.split(".")[1] for entry in self.table[kind] if entry.split(".")[0] == name]:
                notes[kind] = members
        if reasons := {k.split(".")[1]: v for k, v in self.table["reasons"].items() if k.split(".")[0] == name}:
            notes["reasons"] = reasons
        return notes

    def _enum_of(self, where: str, kind: str, text: str) -> list[str] | None:
        """Return the enums of a number: [] for flags without any bit, None for what is no enum."""
        if not NUMBER.fullmatch(kind):
            return None
        if where in self.without_bits:
            return []
        named = [name for name in C_NAME.findall(text) if name in self.api["enums"]]
        found: list[str] = self.table["enums"].get(where, named)
        if where.endswith(".flags"):
            self.bits |= set(found)
        return found or None

    def _enums(self) -> dict[str, Any]:
        """Return the enums: which are bits, since when, and what libvirt says about their values."""
        entries: dict[str, Any] = {name: {"bits": name in self.bits} for name in self.api["enums"]}
        for node in self._all("typedef"):
            if (entry := entries.get(node.get("name", ""))) is not None:
                entry |= {"file": node.get("file"), "text": _line(node.findtext("info"))}
        for node in self._all("enum"):
            entry, name = entries.get(node.get("type", "")), node.get("name", "")
            if entry is None or name not in self.api["enums"][node.get("type", "")]:
                continue
            entry["bits"] = entry["bits"] or node.get("value_bitshift") is not None
            entry.setdefault("texts", {})[name] = _line(node.get("info"))
            entry.setdefault("sinces", {})[name] = node.get("version")
        return entries

    def _params(self, prefix: str) -> dict[str, Any]:
        """Return the typed parameters whose macros begin with a prefix: field -> macro, text, since."""
        return {
            node.get("string", ""): [node.get("name"), _line(node.findtext("info")), node.get("version")]
            for node in self._all("macro")
            if node.get("string") is not None and node.get("name", "").startswith(prefix)
        }


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _paragraphs(text: str | None) -> str:
    """Return a text with its paragraphs, each on one line but for lists and code."""
    blocks = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(
        block.rstrip() if re.search(r"^\s+|^[-*] ", block, re.MULTILINE) else _line(block) for block in blocks
    )


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/usr/share/libvirt/api")
    catalogue = json.loads((HERE.parent / "libvirt_amqp" / "api.json").read_text())
    TARGET.write_text(dump(Describer(source, catalogue).run()))
