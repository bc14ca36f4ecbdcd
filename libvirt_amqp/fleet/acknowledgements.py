"""What the reader has had, in whatever order, acknowledged in the order of the queue."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from libvirt_amqp.delivery import Delivery
from libvirt_amqp.wire import Outlet

FLUSH_SECONDS = 2.0


@dataclass
class _Unread:
    tag: int
    offset: int | None
    is_done: bool = False


class Acknowledgements:
    """Those of one channel."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._unread: deque[_Unread] = deque()
        self.is_open = True
        self.next_offset: int | None = None
        """Where to go on in a stream queue."""

    @property
    def unread(self) -> int:
        """How many deliveries are not acknowledged."""
        return len(self._unread)

    def add(self, delivery: Delivery) -> Callable[[], None]:
        """Remember a delivery; returns what marks it as done."""
        unread = _Unread(delivery.tag, delivery.stream_offset)
        self._unread.append(unread)
        return lambda: self._done(unread)

    async def flush(self) -> None:
        """Let the broker have what is acknowledged, before the connection is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outlet.flush()

    def _done(self, done: _Unread) -> None:
        done.is_done = True
        last = None
        while self._unread and self._unread[0].is_done:
            last = self._unread.popleft()
        if last is not None:
            self.next_offset = None if last.offset is None else last.offset + 1
            if self.is_open:
                self._outlet.ack(last.tag)
