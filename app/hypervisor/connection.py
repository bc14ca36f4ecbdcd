"""One virConnect for one thread: one call at a time, opened when needed, dropped when dead.

Two calls in flight on one virConnect crash the process when the daemon hangs (libvirt 9.0, 8 of 8 runs), so a
connection belongs to the thread that opened it and is never shared.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import libvirt

from libvirt_amqp.errors import LibvirtLost

KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
"""A frozen daemon becomes an error after 20 s; without keepalive a call would block for ever."""

CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "eof",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "keepalive",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "client",
}


@dataclass(frozen=True)
class Facts:
    """What a new connection says about the hypervisor behind it."""

    uri: str
    driver: str
    hostname: str
    library_version: str
    daemon_version: str
    hypervisor_version: str | None
    is_in_process: bool

    @property
    def is_local(self) -> bool:
        """Whether the hypervisor runs on the agent's own host."""
        return not urlsplit(self.uri).hostname


class Connection:
    """Used by one thread only, except for `lost`, which libvirt's event thread sets."""

    def __init__(self, uri: str | None, *, read_only: bool, generation: Callable[[], int] = lambda: 0) -> None:
        """When `generation` returns another number, `open` makes a new connection."""
        self._uri = uri
        self._read_only = read_only
        self._generation = generation
        self._made_in = 0
        self._handle: libvirt.virConnect | None = None
        self.lost = threading.Event()
        self.reason = ""
        self.is_in_process = False
        """Whether there is no daemon behind it: only then there is nothing to keep alive."""

    def open(self) -> libvirt.virConnect:
        """Return the live connection, a new one if need be.  Raises LibvirtLost when libvirt cannot be reached."""
        generation = self._generation()
        if self._handle is not None and not self.lost.is_set() and generation == self._made_in:
            return self._handle
        self.close()
        self._made_in = generation
        try:
            handle = libvirt.openReadOnly(self._uri) if self._read_only else libvirt.open(self._uri)
        except libvirt.libvirtError as error:
            raise LibvirtLost(f"libvirt cannot be reached: {error}") from error
        self.lost = lost = threading.Event()
        self.reason = ""

        def on_close(_conn: Any, reason: int, _opaque: Any) -> None:
            """In libvirt's event thread, or in that of a pending call: no call of libvirt may be made here."""
            if self.lost is lost:  # else it is the news of a former connection
                self.reason = CLOSE_REASONS.get(reason, str(reason))
            lost.set()

        try:
            handle.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            self.is_in_process = error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
        if not self.is_in_process:
            # Where there is nobody to lose this fails, and the binding then never lets go of the connection.
            with contextlib.suppress(libvirt.libvirtError):
                handle.registerCloseCallback(on_close, None)
        self._handle = handle
        return handle

    def is_dead(self) -> bool:
        """Say whether the connection was lost; answered locally, also while the daemon hangs."""
        if self._handle is not None and not self.lost.is_set() and self._handle.isAlive() == 0:
            self.lost.set()
        return self.lost.is_set()

    def facts(self, handle: libvirt.virConnect) -> Facts:
        """Ask what `open` has returned what it is connected to: only what is answered at once."""
        return Facts(
            uri=handle.getURI(),
            driver=handle.getType(),
            hostname=handle.getHostname(),
            library_version=_version(libvirt.getVersion()),
            daemon_version=_version(handle.getLibVersion()),
            hypervisor_version=None,
            is_in_process=self.is_in_process,
        )

    def close(self) -> None:
        """Let go of the connection.  Every libvirt object made from it has to be gone, or it stays open."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        with contextlib.suppress(libvirt.libvirtError):
            handle.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            handle.close()


def hypervisor_version(handle: libvirt.virConnect) -> str | None:
    """Ask for the version of the hypervisor, which may take seconds; None where a driver has no answer."""
    try:
        return _version(handle.getVersion())
    except libvirt.libvirtError:
        return None


def _version(number: int) -> str:
    """Write libvirt's 1000000 * major + 1000 * minor + release as text."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
