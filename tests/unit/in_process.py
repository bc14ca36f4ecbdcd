"""The calls of the agent without a bus: checked, made on a connection of libvirt's own, and read back."""

from typing import Any

import libvirt
import orjson

from app.handlers.arguments import check
from app.handlers.calling import make_work, translate
from app.handlers.results import Encoder
from app.handlers.rooms import STREAMS
from libvirt_amqp import catalogue, errors
from libvirt_amqp.catalogue import Function

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else every error is printed

HOST = "h1"
API = catalogue.load()
ENCODER = Encoder(API, HOST)
CALLED = [f for f in API.served().values() if f.cls != "stream" and f.name not in STREAMS]
"""What is one call and one answer."""


class Calls:
    """What a worker thread does, in this one."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self.connection = connection

    def __call__(self, function: str, *words: str, **params: Any) -> Any:
        """Call by C name.  Raises CallError."""
        return self.make(API.functions[function], words, params)

    def make(self, function: Function, words: tuple[str, ...], params: dict[str, Any]) -> Any:
        arguments = check(function, params, HOST)
        work = make_work(function, str(function.cls), words, arguments, ENCODER, 1)
        try:
            body = work(self.connection)
        except (errors.CallError, libvirt.libvirtError) as error:
            raise translate(error, ENCODER) from error
        return orjson.loads(body)["result"]
