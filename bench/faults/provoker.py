"""A process that changes domains, networks and pools past the agent, and notes what libvirt announced of it.

provoker.py URI LOG FOLDER

On standard input, a JSON array each, answered by a line: ["rate", CHANGES_PER_SECOND], ["list"] (what is there now).
LOG gets a line for each lifecycle event that an ear of its own heard, with its moment.  Every object has one life, in
which hardly an event comes twice, so that an event is found again among the agent's.
"""

import contextlib
import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import libvirt
from account import Table, step

DOMAIN = """<domain type='{type}'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='{arch}'{machine}>hvm</type></os>{devices}</domain>"""
NETWORK = "<network><name>{name}</name><uuid>{uuid}</uuid><bridge name='{name}'/></network>"
POOL = "<pool type='dir'><name>{name}</name><uuid>{uuid}</uuid><target><path>{folder}</path></target></pool>"
QEMU = {
    "type": "qemu",
    "arch": "x86_64",
    "machine": " machine='pc'",
    "devices": "<devices><memballoon model='none'/></devices>",
}
TEST = {"type": "test", "arch": "i686", "machine": "", "devices": ""}
ABSENT = [False, False, False]
AT_ONCE = {"domain": 8, "network": 2, "storage-pool": 2}
SECONDS_BETWEEN_ATTEMPTS = 0.05
SECONDS_TO_HEAR = 0.5
"""What libvirt announces when it has just come again is heard by then."""
WORDS = {
    "domain": (
        "defined",
        "undefined",
        "started",
        "suspended",
        "resumed",
        "stopped",
        "shutdown",
        "pmsuspended",
        "crashed",
    ),
    "network": ("defined", "undefined", "started", "stopped"),
    "storage-pool": ("defined", "undefined", "started", "stopped", "created", "deleted"),
}


class Ear:
    """Hears what a plain program hears."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("a", buffering=1)
        self.table: Table = {}
        """What there is, by the events."""

    def register(self, connection: libvirt.virConnect) -> None:
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._heard, "domain")
        for register, kind, cls in (
            (connection.networkEventRegisterAny, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, "network"),
            (connection.storagePoolEventRegisterAny, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, "storage-pool"),
        ):
            with contextlib.suppress(libvirt.libvirtError):  # the driver has none
                register(None, kind, self._heard, cls)

    def _heard(self, _connection: object, source: object, event: int, _detail: int, cls: str) -> None:
        self._note(time.time(), cls, source.UUIDString(), WORDS[cls][event])

    def missed(self, now: Table, moment: float) -> None:
        """Note what nobody could hear: what libvirt did when it was being killed, or after it had come again."""
        for subject in self.table.keys() | now.keys():
            cls, whose = subject.split("/")
            old, new = self.table.get(subject, ABSENT), now.get(subject, ABSENT)
            for word in _between(old, new):
                self._note(moment, cls, whose, word)

    def _note(self, moment: float, cls: str, whose: str, word: str) -> None:
        self._file.write(json.dumps([moment, cls, whose, word]) + "\n")
        step(self.table, f"{cls}/{whose}", word)


def _between(old: list[bool], new: list[bool]) -> Iterator[str]:
    if new[1] and not old[1]:
        yield "defined"
    if old[0] != new[0]:
        yield "started" if new[0] else "stopped"
    if new[0] and new[2] != old[2]:
        yield "suspended" if new[2] else "resumed"
    if old[1] and not new[1]:
        yield "undefined"


class Life:
    """An object and what is still to be done with it."""

    def __init__(self, cls: str, xml: str, steps: tuple[str, ...]) -> None:
        self.cls = cls
        self.uuid = str(uuid.uuid4())
        self.xml = xml.replace("{name}", f"f{self.uuid[:8]}").replace("{uuid}", self.uuid)
        self.steps = list(steps)

    def go_on(self, connection: libvirt.virConnect) -> None:
        """Do the next step; one that libvirt refuses (somebody killed the guest) is over as well."""
        step = self.steps[0]
        define, lookup = {
            "domain": (connection.defineXML, connection.lookupByUUIDString),
            "network": (connection.networkDefineXML, connection.networkLookupByUUIDString),
            "storage-pool": (connection.storagePoolDefineXML, connection.storagePoolLookupByUUIDString),
        }[self.cls]
        if step == "define":
            define(self.xml)
        else:
            getattr(lookup(self.uuid), step)()
        self.steps.pop(0)


class Provoker:
    """Changes things in a thread, as often as it is told."""

    def __init__(self, uri: str, log: Path, folder: str) -> None:
        self._uri = uri
        self._is_test = uri.startswith("test")
        self._folder = folder
        self._ear = Ear(log)
        self._rate = 0.0
        self._lives: list[Life] = []
        self._lock = threading.Lock()
        self._connect()
        self._ear.table = self._list()
        threading.Thread(target=self._change, daemon=True).start()

    def serve(self) -> None:
        print("ready", flush=True)
        for line in sys.stdin:
            what, *values = json.loads(line)
            if what == "rate":
                with self._lock:
                    self._rate = values[0]
                print("ok", flush=True)
            else:
                with self._lock:
                    print(json.dumps(self._again(self._list)), flush=True)

    def _connect(self) -> None:
        """The ear has a connection of its own; both keep the test driver's objects alive."""
        while True:
            try:
                self._hand, self._listening = libvirt.open(self._uri), libvirt.open(self._uri)
                self._ear.register(self._listening)
            except libvirt.libvirtError:
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
            else:
                return

    def _again(self, what):
        """Do something, on a new connection when the old one is lost."""
        while True:
            try:
                return what()
            except libvirt.libvirtError:
                if self._hand.isAlive() and self._listening.isAlive():
                    raise
                lost_at = time.time()
                self._connect()
                time.sleep(SECONDS_TO_HEAR)
                self._ear.missed(self._list(), lost_at)

    def _change(self) -> None:
        due = time.monotonic()
        while True:
            with self._lock:
                rate = self._rate
                if rate:
                    self._again(self._step)
            due = max(due + 1 / (rate or 100), time.monotonic() - 0.2)
            time.sleep(max(0, due - time.monotonic()))

    def _step(self) -> None:
        for cls, count in AT_ONCE.items():
            if sum(life.cls == cls for life in self._lives) < count:
                self._lives.append(self._new(cls))
        life = random.choice(self._lives)
        try:
            life.go_on(self._hand)
        except libvirt.libvirtError:
            if not self._hand.isAlive():
                raise
            life.steps.pop(0)
        if not life.steps:
            self._lives.remove(life)

    def _new(self, cls: str) -> Life:
        if cls == "domain":
            xml = DOMAIN
            for name, value in (TEST if self._is_test else QEMU).items():
                xml = xml.replace(f"{{{name}}}", value)
            return Life(cls, xml, ("define", "create", "suspend", "resume", "destroy", "undefine"))
        if cls == "network":  # without privileges there is no bridge to start
            return Life(
                cls, NETWORK, ("define", "create", "destroy", "undefine") if self._is_test else ("define", "undefine")
            )
        return Life(cls, POOL.replace("{folder}", self._folder), ("define", "create", "destroy", "undefine"))

    def _list(self) -> dict[str, list]:
        """Return what there is: class/uuid -> [active, persistent, paused]."""
        found = {}
        for domain in self._hand.listAllDomains(0):
            is_paused = domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
            found[f"domain/{domain.UUIDString()}"] = [bool(domain.isActive()), bool(domain.isPersistent()), is_paused]
        for cls, every in (("network", self._hand.listAllNetworks), ("storage-pool", self._hand.listAllStoragePools)):
            for one in every(0):
                found[f"{cls}/{one.UUIDString()}"] = [bool(one.isActive()), bool(one.isPersistent()), False]
        return found


def listen_for_ever() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


if __name__ == "__main__":
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(100, lambda *_: None, None)  # or the loop sleeps through what another thread adds
    threading.Thread(target=listen_for_ever, daemon=True).start()
    Provoker(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).serve()
