"""What the agent adds to a call of the binding, step by step: one thread, no broker, CPU time."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import libvirt
from bench_statistics import node_file
from measure import HOST, Row, interleaved, show

from app.handlers.access import Access
from app.handlers.arguments import check
from app.handlers.calling import make_work, translate
from app.handlers.requests import parse, read
from app.handlers.results import Encoder
from app.handlers.rooms import FINDERS
from libvirt_amqp import catalogue
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.keys import RPC, Address
from libvirt_amqp.messages import error_reply, request, result_reply

DOMAINS, ROUNDS, BATCH_SECONDS = 100, 9, 0.01
ACCESS = Access(full=True, secrets=False)
LARGEST = 4 * 1024 * 1024
STEPS = ("bare", "read", "check", "access", "look up", "job", "encode", "total")

Step = Callable[[], object]


class Case(NamedTuple):
    """A function, its arguments, and the binding's own call on a handle that is there already."""

    method: str
    params: dict[str, Any]
    bare: Callable[[Any], Any]
    fails: bool = False


CASES = (
    Case("virDomainGetInfo", {}, lambda domain: domain.info()),
    Case("virDomainGetXMLDesc", {"flags": 2}, lambda domain: domain.XMLDesc(2)),
    Case("virDomainSetMemoryFlags", {"memory": 65536, "flags": 0}, lambda domain: domain.setMemoryFlags(65536, 0)),
    Case("virNodeGetInfo", {}, lambda connection: connection.getInfo()),
    Case("virConnectListAllDomains", {}, lambda connection: connection.listAllDomains()),
    Case("virDomainCreate", {}, lambda domain: domain.create(), fails=True),
)


def failing(step: Step) -> Step:
    """Return a step that is expected to end with libvirt's error."""

    def run() -> object:
        try:
            step()
        except libvirt.libvirtError as error:
            return error
        raise RuntimeError("the call did not fail")

    return run


def steps(case: Case, connection: libvirt.virConnect, domain: libvirt.virDomain) -> dict[str, Step]:
    """Return what is measured: the parts of dispatching one call, as the dispatcher and a worker thread make them."""
    api = catalogue.load()
    function, encoder = api.functions[case.method], Encoder(api, HOST)
    words = (domain.UUIDString(),) if function.cls == "domain" else ()
    cls = str(function.cls)
    key = Address(HOST, cls, words).key(case.method)
    body = request(case.method, case.params, call_id=1)
    delivery = Delivery(RPC, key, body, 1, redelivered=False, reply_to="q", correlation_id="1")
    receiver = domain if words else connection
    arguments = check(function, case.params, HOST)
    job = partial(make_work(function, cls, words, arguments, encoder, 1), connection)
    if case.fails:
        error: Any = failing(partial(case.bare, receiver))()
        bare, job = failing(partial(case.bare, receiver)), failing(job)
        encode: Step = lambda: error_reply(1, translate(error, encoder))  # noqa: E731 (a step like the others)
    else:
        value = case.bare(receiver)
        value = [value[0], value[1] * 1024, *value[2:]] if case.method == "virNodeGetInfo" else value
        bare = partial(case.bare, receiver)
        encode = lambda: result_reply(1, encoder.result(function, value))  # noqa: E731

    def total() -> object:
        request_ = read(parse(delivery, LARGEST), key, HOST)
        given = check(function, request_.params, HOST)
        ACCESS.check(function, given)
        function.writes(given)
        try:
            return make_work(function, cls, request_.words, given, encoder, 1)(connection)
        except libvirt.libvirtError as error:
            return error_reply(1, translate(error, encoder))

    return {
        "bare": bare,
        "read": lambda: read(parse(delivery, LARGEST), key, HOST),
        "check": lambda: check(function, case.params, HOST),
        "access": lambda: (ACCESS.check(function, arguments), function.writes(arguments)),
        "look up": lambda: FINDERS[cls](connection, words),
        "job": job,
        "encode": encode,
        "total": total,
    }


async def measured(step: Step, count: int) -> Row:
    """Do a step so many times, and return microseconds of this thread's CPU time for one."""
    start = time.thread_time()
    for _ in range(count):
        step()
    return {"us": (time.thread_time() - start) / count * 1e6}


def enough(step: Step) -> int:
    """Return how often a step has to be done so that it can be measured; its caches are warm after that."""
    count = 1
    while True:
        start = time.thread_time()
        for _ in range(count):
            step()
        if time.thread_time() - start > BATCH_SECONDS:
            return count
        count *= 2


def row(method: str, us: dict[str, float], *, fails: bool) -> list[str | float]:
    """Return a line of the table; the call is what is left of the job, which encodes only what succeeded."""
    call = us["job"] - us["look up"] - (0 if fails else us["encode"])
    parts = [us["bare"], us["read"], us["check"], us["access"], us["look up"], call, us["encode"]]
    return [f"{method}{' (fails)' if fails else ''}", *parts, us["total"], us["total"] / us["bare"]]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as folder:
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        connection = libvirt.open(node_file(folder, DOMAINS))
        domain = connection.listAllDomains()[0]
        programs: dict[str, Callable[[], Awaitable[Row]]] = {}
        for case in CASES:
            for name, step in steps(case, connection, domain).items():
                programs[f"{case.method} {name}"] = partial(measured, step, enough(step))
        figures = asyncio.run(interleaved(programs, ROUNDS))
    rows = [
        row(case.method, {name: figures[f"{case.method} {name}"]["us"] for name in STEPS}, fails=case.fails)
        for case in CASES
    ]
    title = f"Dispatch: us of CPU a call, medians of {ROUNDS} rounds, test driver with {DOMAINS} domains"
    header = ("function", "bare", "read", "check", "access", "look up", "call", "encode", "total", "total / bare")
    show(title, header, rows)


if __name__ == "__main__":
    main()
