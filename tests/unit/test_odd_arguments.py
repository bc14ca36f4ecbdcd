"""Whatever is given for an argument: a result, libvirt's error, or one that names what is wrong; never anything else.

ODD_ROUNDS=200 python -m pytest tests/unit/test_odd_arguments.py     for longer than the suite has time for
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import orjson
import pytest
from conftest import TEST_UUID
from unit.in_process import CALLED, Calls

from libvirt_amqp.catalogue import INTEGERS, Function
from libvirt_amqp.errors import CallError, InvalidParams, InvalidRequest, LibvirtFailed
from libvirt_amqp.rules import BOUNDS

ROUNDS = int(os.environ.get("ODD_ROUNDS", "2"))
POOL_UUID = "dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566"
NETWORK_UUID = "dd8fe884-6c02-601e-7551-cca97df1c5df"
WORDS: dict[str, tuple[str, ...]] = {
    "connect": (),
    "domain": (TEST_UUID,),
    "domain-snapshot": (TEST_UUID, "snapshot"),
    "domain-checkpoint": (TEST_UUID, "checkpoint"),
    "network": (NETWORK_UUID,),
    "network-port": (NETWORK_UUID, TEST_UUID),
    "interface": ("eth1",),
    "storage-pool": (POOL_UUID,),
    "storage-vol": (POOL_UUID, "volume"),
    "node-device": ("computer",),
    "nwfilter": (TEST_UUID,),
    "nwfilter-binding": ("eth1",),
    "secret": (TEST_UUID,),
}
FITTING: dict[str, list[Any]] = {
    "string": ["test", "vda", "<domain/>", "", "aa:bb:cc:dd:ee:ff"],
    "bytes": [{"$base64": "ZpXrAfakgwR5qpfyUC4ZPw=="}],
    "cpumap": [[True], [True, False] * 300],
    "params": [{"weight": 1}, {"inbound.average": 3_000_000_000}, {"migrate_disks": ["vda", "vdb"]}, {"new": 1.5}, {}],
    "domain": [{"uuid": TEST_UUID}, {"uuid": "no uuid"}],
    "storage-vol": [{"pool": {"uuid": POOL_UUID}, "name": "volume"}],
    "zero": [0],
}
DEEP: Any = 1
for _ in range(200):
    DEEP = [DEEP, {"a": DEEP}] if _ % 40 == 0 else [DEEP]
ODD: list[Any] = [
    *(0, 1, -1, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 10**30),
    *(True, False, 0.0, 1.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "a", "\0", "a\0b", "\ud800", "é", "\U0001f600", "%s%n", "../../x", "a" * 100_000, "-1", "null", "\n"),
    *([], [[]], [None], [0] * 100_000, ["a"] * 1000, [True] * 100_000, [{}], ["\0"], [2**64], [-1], [""]),
    *({}, {"": ""}, {"a": None}, {"a": []}, {"a": {}}, {"\0": 1}, {"a" * 80: 1}, {"\ud800": 1}, {"a": "\ud800"}),
    *({"$base64": "===="}, {"$base64": 5}, {"$base64": "YQ==", "x": 1}, {"$base64": None}, {"$base64": "YQ=="}),
    *({"uuid": TEST_UUID.upper()}, {"uuid": "\0"}, {"uuid": "\ud800"}, {"class": "x", "uuid": TEST_UUID}, {"uuid": []}),
    *({"pool": {"uuid": POOL_UUID}, "name": "\0"}, {"pool": None, "name": 1}, {"host": "other", "uuid": TEST_UUID}),
    DEEP,
]
"""What JSON can hold, and some of what it cannot."""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of a host like test:///default, but new with every connection.

    In a folder of its own: the test driver really saves a domain to the file that it is told.
    """
    monkeypatch.chdir(tmp_path)
    default = libvirt.open("test:///default")
    objects = [
        default.lookupByUUIDString(TEST_UUID),
        default.networkLookupByUUIDString(NETWORK_UUID),
        default.interfaceLookupByName("eth1"),
        default.storagePoolLookupByUUIDString(POOL_UUID),
    ]
    descriptions = [*(one.XMLDesc() for one in objects), default.nodeDeviceLookupByName("computer").XMLDesc()]
    file = tmp_path / "node.xml"
    file.write_text(f"<node>{''.join(descriptions)}</node>")
    return f"test://{file}"


def connected(node: str) -> Calls:
    """Return calls on a new host, with a snapshot and a volume."""
    connection = libvirt.open(node)
    connection.lookupByName("test").snapshotCreateXML("<domainsnapshot><name>snapshot</name></domainsnapshot>")
    volume = "<volume><name>volume</name><capacity>1</capacity></volume>"
    connection.storagePoolLookupByUUIDString(POOL_UUID).createXML(volume)
    return Calls(connection)


def fitting(kind: str, dice: random.Random) -> Any:
    """Return a value that the check lets through."""
    if kind in INTEGERS and kind != "zero":
        return dice.choice([0, 1, 2, INTEGERS[kind][0], INTEGERS[kind][1]])
    if kind.startswith("[]"):
        return [fitting(kind[2:], dice) for _ in range(dice.randint(0, 3))]
    return dice.choice(FITTING[kind])


def arguments(function: Function, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Every odd value for every argument, beside others that fit; and nothing but fitting ones."""
    for param in function.params:
        for odd in ODD:
            others = {p.name: fitting(p.type, dice) for p in function.params if not p.optional or dice.random() < 0.5}
            yield others | {param.name: odd}
    for _ in range(10):
        yield {p.name: fitting(p.type, dice) for p in function.params if not p.optional or dice.random() < 0.5}


def outcome(calls: Calls, function: Function, params: dict[str, Any]) -> object:
    """Make one call; everything but the three errors of a wrong call is let through, and fails the test."""
    try:
        return calls.make(function, WORDS[str(function.cls)], params)
    except (InvalidParams, InvalidRequest, LibvirtFailed) as error:
        orjson.dumps(error.as_json())  # it can be sent
        return error


@pytest.mark.parametrize("cls", sorted(WORDS))
def test_odd_arguments_have_clear_errors(cls: str, node: str) -> None:
    for seed in range(ROUNDS):
        dice = random.Random(f"{cls} {seed}")
        for function in CALLED:
            if function.cls != cls:
                continue
            calls = connected(node)
            for params in arguments(function, dice):
                try:
                    outcome(calls, function, params)
                except (CallError, Exception) as error:
                    shown = {name: repr(value)[:80] for name, value in params.items()}
                    raise AssertionError(f"{function.name} with {shown}, seed {seed}: {error!r}") from error


def test_the_largest_number_of_every_argument_reaches_libvirt(node: str) -> None:
    refused = []
    for function in CALLED:
        for param in function.params:
            if param.type not in {"uint32", "uint64", "int32", "int64"} or (function.name, param.name) in BOUNDS:
                continue
            given = {p.name: fitting(p.type, random.Random(1)) for p in function.params if not p.optional}
            given |= {"pageSizes": [4], "pageCounts": [1], "keycodes": [1], "pages": [4], "cellCount": 1}
            given = {name: value for name, value in given.items() if name in {p.name for p in function.params}}
            error = outcome(connected(node), function, given | {param.name: INTEGERS[param.type][1]})
            if isinstance(error, InvalidParams) and "the last of the host" not in error.message:
                refused.append((function.name, param.name, error.message))
    assert refused == []


def test_an_argument_that_is_wrong_is_named(node: str) -> None:
    calls = connected(node)
    unnamed = []
    for function in CALLED:
        for param in function.params:
            given = {p.name: fitting(p.type, random.Random(1)) for p in function.params}
            error = outcome(calls, function, given | {param.name: object()})
            if not (isinstance(error, InvalidParams) and param.name in error.message):
                unnamed.append((function.name, param.name, error))
    assert unnamed == []
