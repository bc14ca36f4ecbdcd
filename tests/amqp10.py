"""Somebody who speaks AMQP 1.0 and was not written here: Qpid Proton, in a thread, reading and calling."""

import threading
from types import TracebackType
from typing import Self

from proton import Event, Message
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector
from yarl import URL

SECONDS = 15.0


def address(kind: str, exchange: str, key: str) -> str:
    """Return where an AMQP 1.0 link finds an exchange under a key."""
    return f"{exchange}/{key}" if kind == "brokerj" else f"/exchange/{exchange}/{key}"


class _Peer(MessagingHandler):
    """One connection; `bodies` has what came to each source address, as bytes."""

    def __init__(self, url: str, sources: list[str], target: str | None) -> None:
        super().__init__()
        broker = URL(url)
        self._url, self._user, self._password = f"{broker.host}:{broker.port}", broker.user, broker.password
        self._sources, self._target = sources, target
        self.bodies: dict[str, list[bytes]] = {source: [] for source in sources}
        self.messages: list[Message] = []
        self.injector = EventInjector()
        self.ready = threading.Event()
        self.error: str | None = None
        self.reply_to: str | None = None
        self._due = len(sources) + (target is not None)
        self._links: dict[str, str] = {}

    def on_start(self, event: Event) -> None:
        self._connection = event.container.connect(
            self._url,
            user=self._user,
            password=self._password,
            allowed_mechs="PLAIN",
            allow_insecure_mechs=True,
            reconnect=False,
        )
        event.container.selectable(self.injector)
        for source in self._sources:
            if source:
                link = event.container.create_receiver(self._connection, source)
            else:
                link = event.container.create_receiver(self._connection, None, dynamic=True)
            self._links[link.name] = source
        if self._target is not None:
            self.sender = event.container.create_sender(self._connection, self._target)

    def on_link_opened(self, event: Event) -> None:
        if event.receiver:
            self.reply_to = event.receiver.remote_source.address
        self._due -= 1
        if not self._due:
            self.ready.set()

    def on_message(self, event: Event) -> None:
        body = event.message.body
        self.bodies[self._links[event.receiver.name]].append(body.encode() if isinstance(body, str) else bytes(body))
        self.messages.append(event.message)

    def on_transport_error(self, event: Event) -> None:
        self._fail(str(event.transport.condition))

    def on_link_error(self, event: Event) -> None:
        self._fail(str(event.link.remote_condition))

    def on_rejected(self, event: Event) -> None:
        self._fail(f"rejected: {event.delivery.remote.condition}")

    def on_released(self, _event: Event) -> None:
        self._fail("released: nobody listens")

    def on_send(self, event: ApplicationEvent) -> None:
        self.sender.send(event.subject)

    def on_end(self, _event: ApplicationEvent) -> None:
        self.injector.close()
        self._connection.close()

    def _fail(self, what: str) -> None:
        self.error = what
        self.ready.set()


class Proton:
    """Reads from addresses, and sends to one; an empty source is one that the broker makes and names."""

    def __init__(self, url: str, *sources: str, target: str | None = None) -> None:
        self._peer = _Peer(url, list(sources), target)
        self._thread = threading.Thread(target=Container(self._peer).run, daemon=True)

    @property
    def error(self) -> str | None:
        return self._peer.error

    @property
    def messages(self) -> list[Message]:
        return self._peer.messages

    @property
    def reply_to(self) -> str | None:
        return self._peer.reply_to

    def bodies(self, source: str) -> list[bytes]:
        return self._peer.bodies[source]

    def send(self, message: Message) -> None:
        self._peer.injector.trigger(ApplicationEvent("send", subject=message))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._peer.ready.wait(SECONDS), "no answer to the link"
        assert self.error is None, self.error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._peer.injector.trigger(ApplicationEvent("end"))
        self._thread.join(SECONDS)
