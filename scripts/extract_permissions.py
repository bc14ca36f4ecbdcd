"""Write scripts/permissions.json from libvirt's source: what each function needs, and whether libvirt thinks it fast.

    scripts/extract_permissions.py SOURCE_TREE     an unpacked libvirt-X.Y.Z.tar.xz

Two places say it.  The protocol files (src/remote/*_protocol.x) have libvirt's permissions (@acl) and its priority for
every procedure.  The public entry points (src/libvirt*.c) refuse a read-only connection.  A function counts as one that
changes nothing only if both say so: all its permissions are ones to look, and its code refuses nobody.  One that cannot
be placed gets no row, and so counts as one that changes something.  Review the difference before committing it.
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).resolve().parent / "permissions.json"

WRAPPERS = {
    "virDomainMigrate": ("virDomainMigratePerform", "the source's part is the procedure of its perform phase"),
    "virDomainMigrate2": ("virDomainMigratePerform", "as virDomainMigrate"),
    "virDomainMigrate3": ("virDomainMigratePerform3Params", "as virDomainMigrate, with typed parameters"),
    "virDomainMigrateToURI": ("virDomainMigratePerform", "the source's part of a peer-to-peer migration"),
    "virDomainMigrateToURI2": ("virDomainMigratePerform3", "as virDomainMigrateToURI, in its third version"),
    "virDomainMigrateToURI3": ("virDomainMigratePerform3Params", "as virDomainMigrateToURI, with typed parameters"),
}
"""Functions that choose among procedures: the one whose permissions they need, and why that one."""

ADDED = {
    "virDomainSaveImageGetXMLDesc": (
        ("domain:read_secure", "flags&VIR_DOMAIN_SAVE_IMAGE_XML_SECURE"),
        "the flag shows secrets as it does in virDomainManagedSaveGetXMLDesc, where libvirt says so",
    ),
}
"""Rules that the protocol files do not have: the rule, and why it is needed."""

TO_LOOK = re.compile(r"\w+:(getattr|read|search_\w+)")
"""libvirt's permissions that are for looking only (read_secure, which shows secrets, is none of them)."""

Rules = list[tuple[str, str]]


class Procedure(NamedTuple):
    """What the protocol says of one procedure; a rule is a permission and the condition under which it is needed."""

    rules: Rules
    high: bool


class EntryPoint(NamedTuple):
    """What the code of one public function says."""

    refuses: bool
    """Every call on a read-only connection."""
    refuses_when: frozenset[str]
    """Such calls under these conditions."""
    calls: frozenset[str]
    """Callbacks of the driver and functions of libvirt that may be procedures, in lower case."""
    asks_nobody: bool
    """It reads the handle in the calling process and nothing else."""


def read_procedures(source: Path) -> dict[str, Procedure]:
    """Return public name in lower case -> procedure."""
    procedures = {}
    for program in ("remote", "qemu"):
        text = (source / "remote" / f"{program}_protocol.x").read_text()
        pattern = rf"/\*\*((?:(?!\*/).)*)\*/\s*{program.upper()}_PROC_(\w+) = \d+"
        for comment, constant in re.findall(pattern, text, re.DOTALL):
            name = "vir" + constant.replace("_", "")
            if program == "qemu":
                name = re.sub(r"^(vir(?:CONNECT)?DOMAIN)", r"\1QEMU", name)
            notes = re.findall(r"@(\w+): (\S+)", comment)
            rules = [_rule(value) for kind, value in notes if kind == "acl" and value != "none"]
            procedures[name.lower()] = Procedure(rules, ("priority", "high") in notes)
    return procedures


def _rule(text: str) -> tuple[str, str]:
    """Turn `domain:save:!FLAG` or `domain:write::argument:VALUE` into a permission and a condition ("": always)."""
    kind, permission, flags, argument, value = (*text.split(":"), "", "", "")[:5]
    if argument:
        operator = "!" if value.startswith("!") else ""
        return f"{kind}:{permission}", f"{operator}{argument}=={value.lstrip('!')}"
    operator = "!" if flags.startswith("!") else ""
    return f"{kind}:{permission}", f"{operator}flags&{flags.lstrip('!')}" if flags else ""


def read_entry_points(source: Path) -> dict[str, EntryPoint]:
    """Return public name -> what its code says."""
    points = {}
    for path in sorted(source.glob("libvirt*.c")):
        for name, body in re.findall(
            r"^(?:\w+ \*?)?(vir\w+)\([^;{]*\)\n\{\n(.*?)^\}", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            points[name] = _entry_point(body)
    return points


def _entry_point(body: str) -> EntryPoint:
    checks = body.count("virCheckReadOnlyGoto(")
    under = re.findall(r"if \(([^\n]*)\)\n\s+virCheckReadOnlyGoto\(", body)
    masks = re.findall(r"flags & VIR_CONNECT_RO\) &&\s*\(([^{]*?)\)\) \{", body)
    conditions = [part for text in (*under, *masks) for part in _conditions(text)]
    odd = body.count("VIR_CONNECT_RO") - len(masks)
    driver = {f"vir{name}" for name in re.findall(r"driver->(\w+)", body)}
    called = set(re.findall(r"\b(vir(?:Connect|Domain|N|Interface|S|Test)\w+)\(", body))
    return EntryPoint(
        refuses=checks > len(under) or odd > 0,
        refuses_when=frozenset(conditions),
        calls=frozenset(name.lower() for name in driver | called),
        asks_nobody=not driver and not any("_" not in name for name in called),
    )


def _conditions(text: str) -> list[str]:
    """Turn C's `flags & (A | B)` into flags&A and flags&B: one of them is enough."""
    left, operator, right = (*re.split(r"\s*(&|==)\s*", text, maxsplit=1), "", "")[:3]
    return [f"{left}{operator}{name}" for name in re.findall(r"\w+", right)] or [text]


class Permissions:
    """Both places, put together."""

    def __init__(self, tree: Path) -> None:
        self.version = re.findall(r"version: '([\d.]+)'", (tree / "meson.build").read_text())[0]
        self.procedures = read_procedures(tree / "src")
        self.points = read_entry_points(tree / "src")
        self.public = self._public(tree / "src")
        self.unplaced: list[str] = []

    def rows(self) -> dict[str, dict[str, object]]:
        """Return name -> permissions, write, high for each public function that libvirt has a procedure for."""
        rows = {}
        for name in sorted(self.public):
            if name not in self.points:
                continue  # the event loop, errors, typed parameters: in other directories, and no matter of permissions
            row = self._row(name)
            if row is None:
                self.unplaced.append(name)
            else:
                rows[name] = row
        return rows

    @staticmethod
    def _public(source: Path) -> set[str]:
        exported = (source / name for name in ("libvirt_public.syms", "libvirt_qemu.syms"))
        return {name for path in exported for name in re.findall(r"^\s+(vir\w+);", path.read_text(), re.MULTILINE)}

    def _row(self, name: str) -> dict[str, object] | None:
        point = self.points[name]
        procedure, refuses = self._procedure(name), point.refuses
        if procedure is None:
            return {"acl": [], "write": False, "high": True} if _names_its_object(name, point) else None
        refuses = refuses or any(self._refuses(called) for called in point.calls)
        rules = procedure.rules + [rule for function, (rule, _) in ADDED.items() if function == name]
        return {
            "acl": [f"{permission}?{when}" if when else permission for permission, when in rules],
            "write": refuses or self._writes(rules, point.refuses_when),
            "high": procedure.high,
        }

    def _procedure(self, name: str) -> Procedure | None:
        """Find a function's procedure: of the same name, reviewed, or the only one that its code calls."""
        target = WRAPPERS.get(name, (name, ""))[0].lower()
        if target in self.procedures:
            return self.procedures[target]
        called = [self.procedures[call] for call in self.points[name].calls if call in self.procedures]
        return called[0] if len(called) == 1 else None

    def _refuses(self, called: str) -> bool:
        """Say whether a public function that this one calls refuses every read-only connection."""
        return any(point.refuses for name, point in self.points.items() if name.lower() == called)

    @staticmethod
    def _writes(rules: Rules, refuses_when: frozenset[str]) -> bool | str:
        """Say whether a call changes something, by its permissions; "conditional": if one of its conditions holds."""
        changing = [when for permission, when in rules if not TO_LOOK.fullmatch(permission)]
        if "" in changing or any(when.startswith("!") for when in changing) or not refuses_when <= set(changing):
            return True
        return "conditional" if changing else False


def _names_its_object(name: str, point: EntryPoint) -> bool:
    """Say whether a function tells what the handle knows by itself: its name, uuid, key and the like."""
    getter = r"Get(Name|UUID|UUIDString|ID|MACString|Key|UsageType|UsageID|PortDev|FilterName)$"
    return point.asks_nobody and not point.refuses and re.search(getter, name) is not None


def main(tree: Path) -> None:
    """Write the file, and tell what could not be placed."""
    permissions = Permissions(tree)
    rows = permissions.rows()
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    TARGET.write_text(f'{{\n "libvirt": {json.dumps(permissions.version)},\n "functions": {{\n{lines}\n }}\n}}\n')
    print(f"libvirt {permissions.version}: {len(rows)} functions")
    print("without a procedure of their own:", ", ".join(permissions.unplaced))


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 (the program and one argument)
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
