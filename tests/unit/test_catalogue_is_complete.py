"""The catalogue beside libvirt's own description (libvirt-dev), function by function and in both directions.

The installed libvirt may be another one than the catalogue was made from.  libvirt never takes a function away and says
since when it has each, so what both can know is compared: the functions up to the older of the two versions.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extraction import c_types, reviewed
from extraction.extractor import Extractor, dump

from app.handlers.rooms import SPECIAL, STREAMS
from libvirt_amqp import catalogue
from libvirt_amqp.catalogue import Function

API = Path("/usr/share/libvirt/api")
SERVED = {"libvirt-api.xml": 377 + len(STREAMS) + 7, "libvirt-qemu-api.xml": 3}
"""How many functions of libvirt 9.0.0 are served; of a newer one there may be more.

377 and 3 are plain calls, STREAMS open a stream, and seven are virStream*: Recv, RecvFlags, RecvHole, Send, SendHole,
Finish, Abort.
"""

LENGTHS = {
    "maplen maxerrors maxids maxinfo maxnames maxuuids nameslen": "how much room the caller's array has",
    "ncpumaps ncpus nkeycodes nkeys nmountpoints npages nparams nr_stats": "the length of an array beside it",
    "nbytes": "the number of bytes beside it",
    "size value_size": "the size of a struct or of bytes beside it",
}
"""The arguments of C that no request and no result has, and what they are for."""

NUMBERS = {"int": "int32", "unsigned int": "uint32", "long long": "int64", "unsigned long long": "uint64"}
API_NOW = catalogue.load()


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


class Described:
    """One function in libvirt's description."""

    def __init__(self, node: ET.Element, file: str) -> None:
        returned = node.find("return")
        self.name = node.get("name", "")
        self.file = file
        self.since = node.get("version", "")
        self.arguments = {a.get("name", ""): a.get("type", "") for a in node.findall("arg")}
        self.types = list(self.arguments.values())
        self.first = self.types[0] if self.types else ""
        self.returns = returned.get("type", "") if returned is not None else ""


def described(file: str) -> Iterator[Described]:
    return (Described(node, file) for node in ET.parse(API / file).iter("function"))


def installed_version() -> str:
    macros = ET.parse(API / "libvirt-api.xml").iter("macro")
    number = next(int(m.get("raw", "")) for m in macros if m.get("name") == "LIBVIR_VERSION_NUMBER")
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


@pytest.fixture(scope="module", params=[f"catalogue-{API_NOW.libvirt}-installed-{installed_version()}"])
def both() -> list[tuple[Described, Function]]:
    """The functions up to the older of the two versions, as they are described and as they are in the catalogue."""
    limit = min(version(installed_version()), version(API_NOW.libvirt))
    known = [f for file in SERVED for f in described(file) if version(f.since) <= limit]
    return [(f, API_NOW.functions[f.name]) for f in known]


def test_every_function_of_libvirt_is_in_the_catalogue_and_no_other() -> None:
    limit = min(version(installed_version()), version(API_NOW.libvirt))
    names = [f.name for file in SERVED for f in described(file) if version(f.since) <= limit]
    assert sorted(names) == sorted(f.name for f in API_NOW.functions.values() if version(f.since) <= limit)


def test_no_function_stands_twice_in_the_catalogue() -> None:
    seen: list[str] = []
    text = Path(catalogue.__file__).with_name("api.json").read_text()
    json.loads(
        text, object_pairs_hook=lambda pairs: seen.extend(name for name, _ in pairs if name in API_NOW.functions)
    )
    assert len(seen) == len(set(seen)) == len(API_NOW.functions)


def test_380_plain_functions_of_libvirt_9_0_0_and_those_of_streams_are_served(
    both: list[tuple[Described, Function]],
) -> None:
    served = [c.file for c, f in both if f.left_out is None and version(f.since) <= (9, 0, 0)]
    assert {file: served.count(file) for file in SERVED} == SERVED


def test_every_function_has_its_class_and_its_first_version(both: list[tuple[Described, Function]]) -> None:
    classes = {cls.replace("-", ""): cls for cls in c_types.CLASSES.values()}
    for c, f in both:
        of_c = re.fullmatch(r"(?:const )?vir(\w+)Ptr", c.first)
        expected = classes.get(of_c[1].lower()) if of_c else None
        assert f.cls == ("connect" if c.name == "virDomainListGetStats" else expected), c.name
        assert f.since == c.since, c.name


def test_the_method_is_one_of_the_receivers_class(both: list[tuple[Described, Function]]) -> None:
    with_a_call_of_their_own = {"virDomainListGetStats", "virDomainRevertToSnapshot"}
    assert with_a_call_of_their_own <= set(SPECIAL)
    for c, f in both:
        if f.left_out is None and c.name not in with_a_call_of_their_own:
            of_c = c.first.removeprefix("const ").removesuffix("Ptr")
            assert f.owner == ("libvirt_qemu" if c.file == "libvirt-qemu-api.xml" else of_c), c.name


def test_every_argument_is_a_parameter_an_output_or_a_length(both: list[tuple[Described, Function]]) -> None:
    lengths = {name for names in LENGTHS for name in names.split()}
    for c, f in both:
        if f.left_out is None:
            receiver = set() if c.name == "virDomainListGetStats" else {next(iter(c.arguments))}
            named = {p.name for p in f.params} | {name for name, _ in f.outputs} - {"return"}
            assert set(c.arguments) - receiver - lengths <= named, c.name
            ours = {"offset"} if f.cls == "stream" else set()  # docs/protocol.md: a piece that was lost is noticed
            assert named - ours <= set(c.arguments), c.name


def test_an_integer_parameter_has_the_range_of_its_c_type(both: list[tuple[Described, Function]]) -> None:
    for c, f in both:
        for p in f.params:
            if p.type != "zero" and c.arguments.get(p.name) in NUMBERS:
                assert p.type == NUMBERS[c.arguments[p.name]], (c.name, p.name)


def test_lengths_are_integers_and_every_one_of_them_is_used(both: list[tuple[Described, Function]]) -> None:
    for name in (name for names in LENGTHS for name in names.split()):
        kinds = {
            c.arguments[name]
            for c, f in both
            if name in c.arguments and f.left_out is None and name not in {p.name for p in f.params}
        }
        assert kinds, name
        assert kinds <= {"int", "int *", "unsigned int", "unsigned int *", "size_t", "size_t *"}, name


def _is_handle(c_type: str) -> bool:
    return c_type.removesuffix("Ptr") in c_types.CLASSES


FITS: dict[str, Callable[[Described], bool]] = {
    "the agent's own connection": lambda c: c.returns == "virConnectPtr" or c.name == "virConnectClose",
    "says how the agent reaches libvirt": lambda c: c.types == ["virConnectPtr"] and c.returns == "int",
    "configures the agent's own connection": lambda c: c.first == "virConnectPtr" and "ConnectSet" in c.name,
    "plumbing of a stream": lambda c: "virStreamPtr" in {c.first, c.returns},
    "a container": lambda c: any(kind.startswith("virTypedParameterPtr") for kind in c.types),
    "frees a result": lambda c: len(c.types) == 1 and c.returns == "void" and not _is_handle(c.first),
    "the calling thread's error": lambda c: "virErr" in f"{c.types}{c.returns}" or "Err" in c.name,
    "counts the references": lambda c: len(c.types) == 1 and _is_handle(c.first) and c.returns == "int",
    "the parent of a handle": lambda c: len(c.types) == 1 and _is_handle(c.first) and _is_handle(c.returns),
    "becomes a subscription": lambda c: bool({"cb", "callbackID"} & set(c.arguments)),
    "becomes agent.libvirt-lost": lambda c: "virConnectCloseFunc" in c.types,
    "takes a connection to another host": lambda c: c.types[1] == "virConnectPtr",
    "passes file descriptors": lambda c: bool({"fd", "idx", "files", "fds", "infiles"} & set(c.arguments)),
    "the event loop": lambda c: c.name.startswith("virEvent") and not _is_handle(c.first),
    "the library": lambda c: c.name in {"virGetVersion", "virInitialize"},
}
"""What has to be true of a function for a reason to leave it out, by the words that the reason begins with."""


def reason_of(function: Function) -> str:
    return next(words for words in FITS if (function.left_out or "").startswith(words))


def test_every_reason_to_leave_a_function_out_fits_it(both: list[tuple[Described, Function]]) -> None:
    wrong = [c.name for c, f in both if f.left_out is not None and not FITS[reason_of(f)](c)]
    assert wrong == []
    assert {reason_of(f) for _, f in both if f.left_out is not None} == set(FITS)


def test_nothing_that_is_served_but_what_opens_a_stream_needs_a_stream_a_descriptor_a_callback_or_a_second_connection(
    both: list[tuple[Described, Function]],
) -> None:
    for c, f in both:
        if f.left_out is None:
            assert ("virStreamPtr" in c.types[1:]) == (c.name in STREAMS), c.name
            assert "virConnectPtr" not in c.types[1:], c.name
            assert not re.search(r"Callback|Func\b", str(c.types)), c.name
            assert not {"fd", "files", "fds", "infiles", "cb", "opaque"} & set(c.arguments), c.name


def test_libvirt_lxc_is_left_out_function_by_function() -> None:
    assert {f.name for f in described("libvirt-lxc-api.xml")} == set(reviewed.LXC)
    assert not set(reviewed.LXC) & set(API_NOW.functions)


def test_the_reviewed_tables_speak_of_functions_that_libvirt_has() -> None:
    functions = API_NOW.functions
    names = {*reviewed.METHODS, *reviewed.PARAMS, *reviewed.OUTPUTS, *reviewed.INSTEAD}
    names |= {name for name, _ in reviewed.NOT_OPTIONAL | reviewed.MAY_BE_NULL}
    assert names <= set(functions)
    for name, argument in reviewed.NOT_OPTIONAL | reviewed.MAY_BE_NULL:
        assert argument in {p.name for p in functions[name].params}, name
    unused = [p for p in reviewed.LEFT_OUT if not any(re.fullmatch(p, name) for name in functions)]
    assert unused == []


def test_what_to_use_instead_is_served_and_its_arguments_are_c_names(both: list[tuple[Described, Function]]) -> None:
    seen = []
    for c, f in both:
        if f.instead is not None:
            target = API_NOW.served()[f.instead["use"]]
            arguments = f.instead.get("arguments", {})
            assert set(arguments) <= set(c.arguments)
            assert {name.partition(".")[0] for name in arguments.values()} <= {p.name for p in target.params}
            assert set(f.instead.get("add_flags", ())) <= set(API_NOW.constants)
            seen.append(c.name)
    assert set(seen) == set(reviewed.INSTEAD)


def test_extraction_from_the_installed_description_gives_the_catalogue(both: list[tuple[Described, Function]]) -> None:
    made = Extractor(API).run()
    text = Path(catalogue.__file__).with_name("api.json").read_text()
    if made["libvirt"] == API_NOW.libvirt:
        assert dump(made) == text, "`make catalogue` would change api.json"
    rows, old = json.loads(dump(made))["functions"], json.loads(text)["functions"]
    for c, _ in both:
        assert {k: v for k, v in rows[c.name].items() if k != "doc"} == {
            k: v for k, v in old[c.name].items() if k != "doc"
        }
