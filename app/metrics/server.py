"""HTTP for scrapes in threads of their own: few at a time, none for long, and what they do is no error of ours."""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog

log = structlog.get_logger()

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MOST_CLIENTS = 16
"""A client more is hung up on: each one is a thread."""
CLIENT_SECONDS = 10.0
"""For a request and its answer together, however slowly they drip: Prometheus' own default for a scrape."""
WAKE_SECONDS = 0.25
"""How often the server looks for clients that take too long, and whether it has to end."""
RETRY_SECONDS = 5.0


class Server(ThreadingMixIn, WSGIServer):
    """One thread for a client, with a bound for both.  Raises OSError when it cannot listen."""

    daemon_threads = True
    timeout = WAKE_SECONDS
    request_queue_size = 128  # the library's 5 make a scrape wait a second for the kernel when some come at once

    def __init__(self, host: str, port: int, app: App) -> None:
        self._ends: dict[socket.socket, float] = {}
        self.address_family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__(address, Handler)  # type: ignore[arg-type]  # an IPv6 address has four parts
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind without asking the DNS for the host's full name, as the library would: that can take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def verify_request(self, _request: Any, _client: Any) -> bool:
        """Refuse a client when there are too many."""
        return len(self._ends) < MOST_CLIENTS

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client in a thread of its own, until its time is over."""
        self._ends[request] = time.monotonic() + CLIENT_SECONDS
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a client that is done."""
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self, now: float) -> None:
        """End the clients whose time is over at `now`; their threads see it as the end of the line."""
        for request, end in self._ends.copy().items():
            if end <= now:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: Any, _client: Any) -> None:
        """Be silent: a client that hangs up or sends nonsense could fill the log."""


class Handler(WSGIRequestHandler):
    """One request a connection."""

    timeout = CLIENT_SECONDS

    def log_message(self, *_args: Any) -> None:
        """Be silent: a scrape is no news."""

    def get_stderr(self) -> io.StringIO:
        """Drop what wsgiref would print about clients that hang up."""
        return io.StringIO()


class Listener:
    """Serves `app` on host and port as soon as they can be had; the agent does not wait for that."""

    def __init__(self, listen: tuple[str, int], app: App) -> None:
        self._listen = listen
        self._app = app
        self._ending = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and hang up on whoever is still there.  Takes up to WAKE_SECONDS."""
        self._ending.set()
        self._thread.join(2 * WAKE_SECONDS)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                server = Server(*self._listen, self._app)
            except (OSError, UnicodeError) as error:
                self._say(str(error))
                self._ending.wait(RETRY_SECONDS)
            else:
                log.info("metrics_served", listen=shown(self._listen))
                self._serve(server)

    def _serve(self, server: Server) -> None:
        with server:
            while not self._ending.is_set():
                server.handle_request()
                server.hang_up(time.monotonic())
        server.hang_up(float("inf"))

    def _say(self, reason: str) -> None:
        """Log a failure once, not every attempt."""
        if reason != self._told:
            self._told = reason
            log.error(
                "metrics_not_served",
                setting="METRICS_LISTEN",
                listen=shown(self._listen),
                reason=reason,
                consequence="the agent goes on without it and tries again",
            )


def shown(listen: tuple[str, int]) -> str:
    """Return host and port as one writes them."""
    host, port = listen
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
